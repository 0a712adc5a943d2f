"""Tests of `replayproxy tail`: lines for people and for programs, a live recorder by its file and by its admin port."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.cli.tapes import Read, chat, writing
from tests.processes import PROGRAM, environment, running


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two chats."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(chat("hello\x1b[2J there", started=0), chat("again", model="other", started=1000))
    return path


def test_lines(read: Read, path: Path) -> None:
    """Time, id, status, model, tokens, times, ending, and how the prompt begins; escapes are visible."""
    ran = read("tail", path, "--no-follow")
    first, second = ran.out.splitlines()
    assert first.split()[0] == "11:06:40.000"
    for part in ("200", "tiny", "3 tok", "TTFT 100 ms", "stop", '"hello\\x1b[2J there"'):
        assert part in first
    assert "other" in second
    assert len(read("tail", path, "--no-follow", "-n", "1").out.splitlines()) == 1
    assert read("tail", path, "--no-follow", "-n", "0").out == ""


def test_json_lines(read: Read, path: Path) -> None:
    """Every column, and the prompt."""
    ran = read("tail", path, "--no-follow", "--nl", "--where", "model = 'other'")
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert [(row["model"], row["prompt"], row["ttft_s"]) for row in rows] == [("other", "again", 0.1)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--csv"], "tail prints lines"),
        (["--where", "nope = 1"], "no such column"),
    ],
)
def test_mistakes(read: Read, path: Path, arguments: list[str], sentence: str) -> None:
    """Exit code 2."""
    ran = read("tail", path, *arguments)
    assert (ran.code, sentence in ran.err) == (2, True), ran.err


def test_a_filter_needs_the_file(read: Read) -> None:
    """The admin port has none of its own."""
    ran = read("tail", "http://127.0.0.1:9", "--where", "1")
    assert (ran.code, "need the cassette itself" in ran.err) == (2, True)


def test_no_proxy_there(read: Read) -> None:
    """Exit code 1 and a sentence."""
    ran = read("tail", "http://127.0.0.1:9")
    assert (ran.code, "is the proxy running" in ran.err) == (1, True)


@pytest.mark.parametrize("by_url", [False, True])
def test_a_live_recorder(tmp_path: Path, by_url: bool) -> None:
    """Each answer as it ends; Ctrl-C ends it with exit code 0."""
    path = tmp_path / "live.cassette"
    body = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3})
    with running("simulate", "--model", "tiny", "--port", "0") as server:
        with running("record", path, "--upstream", server.url, "--port", "0", "--admin-port", "0") as proxy:
            source = str(proxy.admin_url) if by_url else str(path)
            with subprocess.Popen(
                [*PROGRAM, "tail", source, "--nl"], stdout=subprocess.PIPE, text=True, env=environment()
            ) as tail:
                assert tail.stdout is not None
                fields = {"Content-Type": "application/json"}
                url = f"{proxy.url}/v1/chat/completions"
                asked = urllib.request.Request(url, body.encode(), fields)  # noqa: S310 (http, on loopback)
                with urllib.request.urlopen(asked) as response:  # noqa: S310 (the same)
                    response.read()
                rows = [json.loads(tail.stdout.readline())]
                tail.send_signal(signal.SIGINT)
                assert tail.wait(10) == 0
    assert rows[0]["model"] == "tiny"
    assert rows[0]["status"] == 200
    assert rows[0]["prompt"] == ("" if by_url else "Hello")
