"""A recording that cannot be played is not counted as played: the client is told, and the run has failed with 6."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from replayproxy.cli.judging import actions
from replayproxy.cli.judging.junit import junit
from replayproxy.model import RecordingRef
from replayproxy.proxy.verdict import RunPolicy, judge
from tests import wire
from tests.apps import replaying, run, running
from tests.processes import replaying as process
from tests.processes import replayproxy
from tests.recordings import MATCHER, chats, record, samples


def altered(*statements: str) -> Callable[[Path], None]:
    """What somebody has done to a file with SQL."""

    def alter(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.execute("PRAGMA ignore_check_constraints = ON")
            for statement in statements:
                connection.execute(statement)

    return alter


FIRST = "(SELECT min(id) FROM exchange)"
DAMAGE: dict[str, Callable[[Path], None]] = {
    "wrong digest": altered(f"UPDATE exchange SET digest = x'0011223344556677' WHERE id = {FIRST}"),
    "torn frame": altered("UPDATE answer SET answer = substr(answer, 1, length(answer) - 3) WHERE rowid = 1 OR 1"),
    "dictionary missing": altered("DELETE FROM dictionary"),
    "answer missing": altered("DELETE FROM answer"),
    "times of another": altered("UPDATE payload SET times = x'00'"),
    "a status that is none": altered("UPDATE exchange SET status = 42"),
    "an ending that is none": altered("UPDATE exchange SET ending = 77"),
    "endpoint missing": altered("DELETE FROM endpoint"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_what_is_damaged_is_told_counted_and_fails_the_run(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """In the answer, the metrics, the report, JUnit, GitHub's annotations and the exit code; never as played."""
    kept = chats(30)  # enough for dictionaries
    cassette = record(tmp_path / "a.cassette", kept)
    damage(cassette)

    async def story() -> None:
        async with running(replaying(cassette), admin=True) as proxy:
            for _ in range(2):
                answer = await wire.ask(proxy.url, kept[0].request)
                assert (answer.status, answer.head.get("x-replayproxy-error")) == (500, "damaged")
                assert answer.head.get("x-should-retry") == "false"
                assert "cannot be played" in orjson.loads(answer.body)["error"]["message"]
            metrics = (await wire.ask(proxy.admin_url or "", wire.get("/metrics"))).body.decode()
            assert 'replayproxy_requests_total{outcome="damaged"} 2.0' in metrics
            assert 'replayproxy_replay_misses_total{code="damaged"} 2.0' in metrics
            report = proxy.app.control.report()
        assert (report.served, report.damaged, report.misses) == (0, 2, 0)
        if damage is not DAMAGE["endpoint missing"]:
            assert RecordingRef(MATCHER.key(kept[0].request), 0) in {one.place for one in report.unused}
        verdict = judge(report, RunPolicy(must_serve=True))
        assert (verdict.word, verdict.code) == ("damaged", 6)
        assert b'<failure type="damaged"' in junit(report, verdict, RunPolicy(), seconds=1)
        assert any("damaged" in line for line in actions.error_lines(report, verdict))
        assert report.document()["damaged"] == 2

    run(story())


def test_exec_and_replay_end_with_6(tmp_path: Path) -> None:
    """Also where the command has swallowed the error; its own failure would come first."""
    kept = chats(2)
    cassette = record(tmp_path / "a.cassette", kept)
    DAMAGE["wrong digest"](cassette)
    client = (
        "import os, urllib.request as u, urllib.error as e\n"
        "for body in %r:\n"
        "    try: u.urlopen(u.Request(os.environ['OPENAI_BASE_URL'] + '/chat/completions', body,"
        " {'Content-Type': 'application/json'})).read()\n"
        "    except e.HTTPError: pass\n"
    ) % [item.request.body for item in kept]
    ended = replayproxy("exec", cassette, "--report", tmp_path / "r.json", "--", sys.executable, "-c", client)
    assert ended.returncode == 6, ended.stderr
    assert "DAMAGED m-0001" in ended.stderr
    assert "1 answer from recordings, 0 misses, 1 damaged recording" in ended.stderr
    report = orjson.loads((tmp_path / "r.json").read_bytes())
    assert (report["verdict"], report["served"], report["damaged"], len(report["unused"])) == ("damaged", 1, 1, 1)


def test_a_cassette_that_says_nothing_of_itself_is_refused_at_the_start(tmp_path: Path) -> None:
    """Damaged rules: every request would miss."""
    cassette = record(tmp_path / "a.cassette", chats(1))
    altered("UPDATE meta SET value = '{' WHERE name = 'match'")(cassette)
    ended = replayproxy("exec", cassette, "--", sys.executable, "-c", "")
    assert (ended.returncode, "Traceback" in ended.stderr) == (6, False)


LEG_DAMAGE: dict[str, Callable[[Path], None]] = {
    "digest": altered("UPDATE leg SET digest = x'0011223344556677' WHERE role = 'prefill'"),
    "digest of the second": altered("UPDATE leg SET digest = x'0011223344556677' WHERE role = 'decode'"),
    "request": altered("UPDATE leg SET request = substr(request, 2)"),
    "answer": altered("UPDATE leg SET answer = x'00'"),
    "times": altered("UPDATE leg SET times = x'00'"),
    "server": altered("UPDATE leg SET upstream = 'http://elsewhere'"),
    "status": altered("UPDATE leg SET status = 500"),
    "an ending that is none": altered("UPDATE leg SET ending = 77"),
}


@pytest.mark.parametrize("damage", LEG_DAMAGE.values(), ids=LEG_DAMAGE)
def test_a_damaged_leg_of_a_pair_fails_the_run_that_plays_it(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """What is on record of a pair is one recording: only `verify` noticed. Others on the same cassette are played."""
    paired = next(item for item in samples() if item.legs)
    cassette = record(tmp_path / "a.cassette", [paired, *chats(2)])
    damage(cassette)

    async def story() -> None:
        async with running(replaying(cassette)) as proxy:
            for _ in range(2):
                answer = await wire.ask(proxy.url, paired.request)
                assert (answer.status, answer.head.get("x-replayproxy-error")) == (500, "damaged")
            assert (await wire.ask(proxy.url, chats(1)[0].request)).status == 200
        report = proxy.app.last_report
        assert report is not None
        assert (report.served, report.damaged) == (1, 2)
        assert judge(report, RunPolicy()).code == 6

    run(story())


def test_a_sound_pair_is_played(tmp_path: Path) -> None:
    """Byte for byte, and again out of memory; a replay that played a damaged one ends with 6."""
    paired = next(item for item in samples() if item.legs)
    cassette = record(tmp_path / "a.cassette", [paired])

    async def ask(url: str) -> list[tuple[int, bytes]]:
        answers = [await wire.ask(url, paired.request) for _ in range(2)]
        return [(answer.status, answer.body) for answer in answers]

    with process(cassette) as proxy:
        assert run(ask(proxy.url)) == [(200, paired.response.body)] * 2
    assert proxy.code == 0
    LEG_DAMAGE["digest"](cassette)
    with process(cassette) as proxy:
        assert [status for status, _ in run(ask(proxy.url))] == [500, 500]
    assert proxy.code == 6
