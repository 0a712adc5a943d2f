"""`drive`: the plan, the run, what is refused before anything is sent, and exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import replayproxy
from replayproxy import lifetime
from replayproxy.cli.verbs import driving
from tests.cli.tapes import Read, Watch, chat, writing
from tests.cli.tapes import event as server_event

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    """Three chats, the last of which may generate some tokens only."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(
            chat("one", started=0, at=[1, 2, 3]),
            chat("two", started=20, at=[1, 2, 3]),
            chat("three", started=40, at=[1, 2, 3], response_format={"type": "json_object"}),
        )
    return path


@pytest.fixture
def server(cassette: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A replay of the same cassette; this process keeps its signals and its garbage collector."""
    monkeypatch.setattr(lifetime, "own_process", lambda: None)
    monkeypatch.setattr(lifetime, "listen_for_signals", lambda _: None)
    with replayproxy.replay(cassette) as running:
        yield running.base_url.removesuffix("/v1")


def test_a_run_and_its_judgement(read: Read, cassette: Path, server: str, tmp_path: Path) -> None:
    """Sent, recorded, compared: all the same."""
    new, rows = tmp_path / "b.cassette", tmp_path / "rows.csv"
    ran = read("drive", cassette, "--upstream", server, "-o", new, "--max-lateness", "60s", "--save-results", rows)
    assert ran.code == 0, ran.err
    assert "3 planned: 3 ok" in ran.out
    assert "exit 0 (every request was sent and answered)" in ran.out
    assert f"recorded onto {new}" in ran.err
    lines = rows.read_text().splitlines()
    assert (lines[0].split(",")[:5], len(lines)) == (["source", "loop", "session", "turn", "outcome"], 4)
    assert read("compare", cassette, new).code == 0


def test_the_result_as_json(read: Read, cassette: Path, server: str, tmp_path: Path) -> None:
    """And rows as JSON lines; two loops send everything twice."""
    rows = tmp_path / "rows.jsonl"
    options = ("--loops", "2", "--speed", "100", "--max-lateness", "60s", "--save-results", rows, "--json")
    ran = read("drive", cassette, "--upstream", server, *options)
    document = json.loads(ran.out)
    assert (ran.code, document["sent"], document["outcomes"]["ok"], document["exit_code"]) == (0, 6, 6, 0)
    assert [json.loads(line)["loop"] for line in rows.read_text().splitlines()] == [0, 0, 0, 1, 1, 1]


def test_a_server_that_has_no_answer(read: Read, cassette: Path, server: str) -> None:
    """Failures that the recording has not are exit code 1; a late driver decides before that."""
    ran = read("drive", cassette, "--upstream", server, "--set", "seed=1", "--max-lateness", "60s")
    assert (ran.code, "3 http_error" in ran.out, "3 times: status 404" in ran.out) == (1, True, True)
    late = read("drive", cassette, "--upstream", server, "--max-lateness", "0s")
    assert (late.code, "bottleneck" in late.out) == (9, True)


def test_the_plan(read: Read, watch: Watch, cassette: Path) -> None:
    """Nothing is sent; also for a server that is elsewhere."""
    ran = read("drive", cassette, "--upstream", "http://gpu.example.com", "--dry-run")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "plan for http://gpu.example.com",
        "requests   3 in 3 sessions",
        "sent       at the recorded times, speed 1; each turn after the answer before it",
        "duration   44.0 ms, if answers take as long as they did",
        "in flight  1 at most",
        "tokens     30 of prompts, 9 of answers, as recorded",
    ]
    document = json.loads(read("drive", cassette, "--upstream", NOWHERE, "--dry-run", "--json").out)
    assert (document["requests"], document["sessions"], document["output_tokens"]) == (3, 3, 9)
    rate = read("drive", cassette, "--upstream", NOWHERE, "--dry-run", "--rate", "5", "--arrivals", "gamma:0.5").out
    assert "5 per second, in bursts (gamma)" in rate
    users = read("drive", cassette, "--upstream", NOWHERE, "--dry-run", "--concurrency", "2", "--turns", "think").out
    assert "by 2 users" in users
    assert watch(80, "drive", cassette, "--upstream", NOWHERE, "--dry-run")[0] == 0


def test_a_server_elsewhere_needs_a_yes(read: Read, cassette: Path) -> None:
    """With the number of requests that it would get."""
    ran = read("drive", cassette, "--upstream", "http://203.0.113.1:8000")
    assert ran.code == 2
    assert "3 requests with --yes" in ran.err


def test_lengths_are_not_forced_against_a_grammar(read: Read, cassette: Path) -> None:
    """With the reason and a way out; `--allow-unforced` notes them in the plan."""
    options = ("drive", cassette, "--upstream", NOWHERE, "--dry-run", "--max-tokens-from-recording")
    refused = read(*options)
    assert refused.code == 2
    assert "response_format" in refused.err
    assert "--allow-unforced" in refused.err
    assert "1 are sent without a forced length" in read(*options, "--allow-unforced").out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--rate", "1", "--concurrency", "1"), "give one of them"),
        (("--rate", "1", "--arrivals", "x"), "write gamma:0.5"),
        (("--ramp-up", "1s"), "--ramp-up is for --rate or --concurrency"),
        (("--set", "x"), "NAME=VALUE"),
        (("--model", "x="), "OLD=NEW"),
        (("--header", "Authorization=Bearer x"), "--api-key-env"),
        (("--header", "X-Team=@NOT_SET_ANYWHERE"), "NOT_SET_ANYWHERE"),
        (("--api-key-env", "NOT_SET_ANYWHERE"), "is not set"),
        (("--run-id", "a\r\nb"), "--run-id"),
        (("--speed", "0"), "--speed"),
        (("--where", "status = 500"), "no request that meets --where"),
    ],
)
def test_mistakes_are_explained(read: Read, cassette: Path, options: tuple[str, ...], words: str) -> None:
    """Before anything is sent."""
    ran = read("drive", cassette, "--upstream", NOWHERE, *options)
    assert ran.code == 2
    assert words in ran.err


def test_a_server_that_is_not_there(read: Read, cassette: Path, tmp_path: Path, server: str) -> None:
    """Exit code 1, and no file."""
    ran = read("drive", cassette, "--upstream", NOWHERE, "-o", tmp_path / "b.cassette")
    assert (ran.code, "nobody answers at" in ran.err) == (1, True)
    assert not (tmp_path / "b.cassette").exists()
    again = read("drive", cassette, "--upstream", server, "-o", cassette)
    assert (again.code, "is the recording itself" in again.err) == (2, True)
    rows = read("drive", cassette, "--upstream", server, "--save-results", cassette)
    assert rows.code == 2


def test_help_is_a_sentence_each() -> None:
    """The verb is there, with an example."""
    assert "compare prod.cassette" in (driving.drive.help or "") + (driving.drive.epilog or "")
    assert server_event({}) == b"data: {}\n\n"
