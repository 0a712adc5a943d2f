"""`web`: starts, says where, shows, ends; and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from replayproxy.model import Request
from tests import wire
from tests.apps import run
from tests.cli.commands import tape
from tests.processes import replayproxy, running


def shown(url: str, path: str) -> Any:
    """The JSON of a page."""
    return orjson.loads(run(wire.ask(url.rstrip("/"), Request("GET", path))).body)


def test_it_serves_until_a_signal(tmp_path: Path) -> None:
    """On the port that it says in its line and in the ready file; the file goes with it."""
    path = tape(tmp_path / "chat.cassette", "hello")
    with running("web", path, "--port", "0") as proxy:
        assert len(shown(proxy.url, "/list.json")["rows"]) == 1
        assert proxy.url in proxy.said
    assert proxy.code == 0


def test_it_shows_the_misses_of_a_report(tmp_path: Path) -> None:
    """Which exec has written."""
    path, report = tape(tmp_path / "chat.cassette", "hello"), tmp_path / "report.json"
    replayproxy("exec", path, "--report", report, "--allow-empty", "--", "true")
    with running("web", path, "--port", "0", "--report", report) as proxy:
        assert len(shown(proxy.url, "/unused.json")["unused"]) == 1


def test_what_cannot_be_shown_is_an_error_at_the_start(tmp_path: Path) -> None:
    """A file that is no cassette, a report that is none, an output that is the cassette."""
    path = tape(tmp_path / "chat.cassette", "hello")
    text = tmp_path / "a.txt"
    text.write_text("hello")
    before = path.read_bytes()
    for words, code in (
        (("web", tmp_path / "none.cassette"), 2),
        (("web", text), 2),
        (("web", path, "--report", text), 1),
        (("web", path, "--token-file", text), 2),
        (("web", path, "--ready-file", path), 2),
        (("web", path, "--host", "nowhere.invalid"), 2),
    ):
        ended = replayproxy(*words, "--port", "0")
        assert ended.returncode == code, (words, ended.stderr)
        assert ended.stderr.startswith("replayproxy: ")
        assert "Traceback" not in ended.stderr
    assert path.read_bytes() == before
