"""Serving verbs on damaged files: refused at the start with a sentence, or served as far as they hold.

Damage that is found later is told to the client whose answer it was, stands in the report, and fails the run; the admin
port goes on, traffic that is recorded flows on, and what is only played stays byte for byte (`make fuzz`: more files).
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from replayproxy.admin.service import serve_admin
from replayproxy.app import App
from replayproxy.core.policy import Mode
from replayproxy.errors import CassetteError, ReplayProxyError
from replayproxy.proxy.verdict import RunPolicy, judge
from replayproxy.settings import Listen, Replaying, Settings
from tests import fuzz, wire
from tests.apps import recording, replaying, run, running
from tests.damage import died, harm, put
from tests.doubles.upstreams import Send, answer, scripted
from tests.processes import replayproxy
from tests.recordings import MATCHER, asked, chats, record, samples

FILES = fuzz.cases(16)
PART = 4
FORMAT_1 = Path(__file__).parents[2] / "cassettes" / "format-1.cassette"
REQUESTS = [*(item.request for item in samples()[:5]), asked("never seen"), chats(1)[0].request]
ADMIN = ("/report", "/misses", "/misses/m-0001", "/metrics", "/ready", "/health")
MODES: dict[str, tuple[Mode, dict[str, Any]]] = {
    "replay": (Mode.REPLAY, {}),
    "replay all at a pace": (Mode.REPLAY, {"replaying": Replaying(speed=100.0, allow_incomplete=True)}),
    "auto": (Mode.AUTO, {}),
    "record": (Mode.RECORD, {}),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What is damaged: a cassette with dictionaries, one whose recorder has died, one of the format before."""
    folder = tmp_path_factory.mktemp("sources")
    sound = record(folder / "sound.cassette", [*samples(), *chats(12)])
    return [sound, sound, died(folder / "died.cassette"), FORMAT_1]


async def served(settings: Settings) -> list[str]:
    """Start, ask, look at the admin port, stop. Gives what should not have happened."""
    listen = Listen(port=0, admin_port=0, drain=1.0)
    try:
        app = App(replace(settings, listen=listen), admin=serve_admin)
    except ReplayProxyError:
        return []
    wrong = []
    try:
        addresses = await app.start()
    except ReplayProxyError:
        await app.give_up()
        return []
    for request in REQUESTS:
        said = await wire.ask(addresses.url, request)
        own = said.head.get("x-replayproxy-error")
        if said.status >= 500 and own not in ("damaged", "bad_answer"):
            wrong.append(f"{request.method} {request.target}: {said.status} {own} {said.body[:80]!r}")
    for path in ADMIN:
        said = await wire.ask(addresses.admin_url or "", wire.get(path))
        if said.status >= 500:
            wrong.append(f"{path}: {said.status} {said.body[:80]!r}")
    await app.stop()
    if app.last_report is None:
        wrong.append("there is no report")
    return wrong


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("part", range(0, FILES, PART))
def test_a_damaged_file_is_refused_or_served_as_far_as_it_holds(
    tmp_path: Path, sources: list[Path], part: int, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing fails inside, no answer is invented, and nothing of a file that is only played is changed."""
    wrong: dict[str, list[str]] = {}

    async def story() -> None:
        async with scripted(Send(answer("200 OK", b'{"ok":1}')), again=True) as upstream:
            for seed in range(part, min(part + PART, FILES)):
                folder = tmp_path / str(seed)
                folder.mkdir()
                damaged = folder / "a.cassette"
                shutil.copy(sources[seed % len(sources)], damaged)
                how = harm(damaged, 100 + seed)
                before = damaged.read_bytes()
                which, more = MODES[mode]
                plays = which is Mode.REPLAY
                caplog.clear()
                found = await served(Settings(which, (damaged,), None if plays else upstream.url, **more))
                found += [entry.getMessage() for entry in caplog.records if entry.exc_info]
                if plays and damaged.read_bytes() != before:
                    found.append("the file has changed")
                if found:
                    wrong[f"seed {seed}: {how}"] = found

    with caplog.at_level(logging.WARNING):
        run(asyncio.wait_for(story(), 100))
    assert wrong == {}


# What is found at the end


def unlistable(path: Path) -> None:
    """The recordings cannot be listed any more; those before this one can be played."""
    put(path, "endpoint", "path", b"\xed\xa0\x80", as_text=True, where="path = '/v1/models'")


def test_what_cannot_be_listed_fails_the_run_and_keeps_it_from_nothing(tmp_path: Path) -> None:
    """`stop` broke off, so that a recorder was not sealed; `/report` was a 500 of the proxy's own."""
    kept = chats(2)
    cassette = record(tmp_path / "a.cassette", [*kept, *samples()])
    unlistable(cassette)

    async def story() -> None:
        async with running(replaying(cassette), admin=True) as proxy:
            assert (await wire.ask(proxy.url, kept[0].request)).status == 200
            said = await wire.ask(proxy.admin_url or "", wire.get("/report"))
            assert (said.status, b"is damaged" in said.body) == (200, True)
        report = proxy.app.last_report
        assert report is not None
        assert (report.served, report.damaged) == (1, 0)
        assert report.damage.startswith(f"{cassette} is damaged")
        verdict = judge(report, RunPolicy(must_serve=True))
        assert (verdict.word, verdict.code, verdict.sentence) == ("damaged", 6, report.damage)

    run(story())
    ended = replayproxy("exec", cassette, "--allow-empty", "--", "true")
    assert (ended.returncode, "Traceback" in ended.stderr) == (6, False), ended.stderr
    assert "is damaged" in ended.stderr


def test_a_recorder_is_sealed_all_the_same(tmp_path: Path) -> None:
    """`auto` on a file that cannot be listed: what it has recorded is there."""
    cassette = record(tmp_path / "a.cassette", samples())
    unlistable(cassette)

    async def story() -> None:
        async with scripted(Send(answer("200 OK", b'{"ok":1}')), again=True) as upstream:
            settings = Settings(Mode.AUTO, (cassette,), upstream.url)
            async with running(settings) as proxy:
                assert (await wire.ask(proxy.url, asked("never seen"))).body == b'{"ok":1}'
            assert proxy.app.last_report is not None
            assert (proxy.app.last_report.recorded, proxy.app.control.trouble) == (1, None)

    run(story())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.cassette"]  # no log, no lock
    key = bytes.fromhex(MATCHER.key(asked("never seen")).partition(":")[2])
    assert key in cassette.read_bytes()


# A start that fails


@pytest.fixture(params=["sealed", "small pages", "died", "empty", "in a log"])
def there(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file that is there before the start, whatever it is to be recorded on."""
    path = tmp_path / "a.cassette"
    match request.param:
        case "sealed":
            record(path, chats(300))  # more than 96 KiB: pages of 4 KiB
        case "small pages":
            record(path, chats(1))
        case "died":
            died(path)
        case "empty":
            path.touch()
        case "in a log":
            record(path, chats(1))
            _reopen_in_a_log(path)
    return path


def _reopen_in_a_log(path: Path) -> None:
    """As a recorder leaves it that was killed: what it has recorded stands in the log."""
    from replayproxy.cassette.writer import CassetteWriter
    from tests.recordings import keep, pieces

    keeper = CassetteWriter(path, MATCHER)
    keep(keeper, pieces(chats(2)[1], 1))
    copies = {name: Path(f"{path}{name}").read_bytes() for name in ("", "-wal")}
    keeper.close()
    for name, content in copies.items():
        Path(f"{path}{name}").write_bytes(content)


def files(folder: Path) -> dict[str, bytes]:
    """Everything in it but SQLite's index of a log, which any reader makes."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}


@pytest.mark.parametrize("mode", ["record", "auto"])
@pytest.mark.parametrize("fault", ["port", "admin port", "ready file", "certificate", "upstream"])
def test_a_start_that_fails_leaves_the_file_as_it_was(there: Path, mode: str, fault: str) -> None:
    """Byte for byte: a port that was taken gave it another change counter, and pages of another size."""
    before = files(there.parent)

    async def story() -> None:
        async with scripted(Send(answer("200 OK", b"{}"))) as busy:
            listen = Listen(port=0, admin_port=None)
            match fault:
                case "port":
                    listen = replace(listen, port=busy.port)
                case "admin port":
                    listen = replace(listen, admin_port=busy.port)
                case "ready file":
                    listen = replace(listen, ready_file=there.parent / "none" / "ready.json")
                case "certificate":
                    listen = replace(listen, ssl_certfile=there, ssl_keyfile=there)
            settings = replace(recording(there, "http://127.0.0.1:9"), mode=Mode(mode), listen=listen)
            app: App | None = None
            try:
                app = App(settings, admin=serve_admin)
                if fault == "upstream":
                    assert app.parts.upstream is not None
                    await app.parts.upstream.reach()
                await app.start()
            except ReplayProxyError:
                if app is not None:
                    await app.give_up()
            else:
                pytest.fail("it has started")

    run(story())
    assert files(there.parent) == before


def test_what_is_found_when_recording_begins_leaves_no_lock(tmp_path: Path) -> None:
    """Damage in a stream that a dead recorder has left: the start fails with a sentence, and a second one too."""
    cassette = died(tmp_path / "a.cassette")
    put(cassette, "segment", "heard", b"\xff" * 20, as_text=False)

    async def story() -> None:
        for _ in range(2):
            app = App(replace(recording(cassette, "http://127.0.0.1:9"), listen=Listen(port=0, admin_port=None)))
            with pytest.raises(CassetteError):
                await app.start()
            await app.give_up()

    run(story())
    assert not (tmp_path / "a.cassette.lock").exists()
