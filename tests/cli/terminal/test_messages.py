"""Tests of `cli/terminal/messages`: what the process says on stderr, as text and as JSON."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from replayproxy.cli.terminal import messages
from tests.cli.commands import asking, execute, tape
from tests.cli.tapes import Read
from tests.processes import PROGRAM, environment, running

ESCAPES = "\x1b]0;title\x07\x9b31m\u202e"

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
"""RFC 3339, in UTC."""


def lines(text: str) -> list[dict[str, Any]]:
    """Each line as an object with the fields that every line has."""
    found = [json.loads(line) for line in text.splitlines()]
    for one in found:
        assert TIME.fullmatch(one["time"]), one
        assert one["level"] in ("debug", "info", "warning", "error", "critical"), one
        assert list(one)[:4] == ["time", "level", "logger", "message"]
    return found


@pytest.fixture
def as_json() -> Iterator[None]:
    """In JSON while the test runs."""
    with messages.speaking("json"):
        yield


@pytest.fixture
def as_text() -> Iterator[None]:
    """In text while the test runs."""
    with messages.speaking("text"):
        yield


def warn(text: str) -> None:
    """As a library does; pytest makes errors of warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(text, stacklevel=2)


LIBRARY = "an error: its words are left out, because they may quote a request"

# Text


@pytest.mark.usefixtures("as_text")
def test_no_control_character_of_a_stranger_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """In the text, in a warning; the words of libraries and of exceptions are not said at all."""
    messages.info(f"one {ESCAPES}")
    logging.getLogger("aiohttp.server").error("two %s", ESCAPES)
    try:
        raise ValueError(ESCAPES)
    except ValueError:
        logging.getLogger("replayproxy.server").exception("three")
    warn(f"four {ESCAPES}")
    messages.usage_error(click.UsageError(f"five {ESCAPES}"))
    said = capsys.readouterr().err
    assert all(word in said for word in ("one", "aiohttp.server", "three", "ValueError", "four", "five"))
    assert not set(said) & set(ESCAPES) - set("]0;titlem31")


@pytest.mark.usefixtures("as_text")
def test_a_line_feed_of_a_stranger_makes_no_line_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    """What follows on another line is indented: it cannot look as if we had said it."""
    messages.warning("the model\nreplayproxy passed: 5 answers\r\nreplayproxy: all is well")
    said = capsys.readouterr().err
    assert said.startswith("replayproxy: the model\n")
    assert all(line.startswith("  ") for line in said.splitlines()[1:])


# JSON


@pytest.mark.usefixtures("as_json")
def test_every_record_is_an_object_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Ours with their fields, libraries', warnings, exceptions; control characters are JSON's escapes."""
    messages.info(f"one {ESCAPES}\n", name="a name", cassettes=["a", "b\udcff"])
    logging.getLogger("hypercorn.error").error("two %d", 2)
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("replayproxy.server").exception("three")
    warn("four")
    messages.usage_error(click.UsageError("five"))
    logging.getLogger("asyncio").error("six %s %s", "one argument")  # noqa: PLE1206  a library's mistake
    said = capsys.readouterr().err
    assert not set(said) & set(ESCAPES) - set("]0;titlem31")
    one, two, three, four, five, six = lines(said)
    assert (one["message"], one["name"], one["cassettes"]) == (f"one {ESCAPES}\n", "a name", ["a", "b\\udcff"])
    assert (one["logger"], one["level"]) == ("replayproxy", "info")
    assert (two["logger"], two["level"], two["message"].partition(" reports ")[2]) == (
        "hypercorn.error",
        "error",
        LIBRARY,
    )
    assert ("ValueError" in three["exception"], "why\n" in three["exception"]) == (True, False)
    assert (four["logger"], four["level"], "four" in four["message"]) == ("py.warnings", "warning", True)
    assert (five["message"], five["exit_code"], "usage" in five) == ("five", 2, False)
    assert six["message"].endswith(LIBRARY)


@pytest.mark.usefixtures("as_json")
def test_a_thread_that_dies_says_so_in_its_form(capsys: pytest.CaptureFixture[str]) -> None:
    """Python would print its traceback past us."""

    def die() -> None:
        raise RuntimeError(ESCAPES)

    thread = threading.Thread(target=die, name="writer")
    thread.start()
    thread.join()
    (said,) = lines(capsys.readouterr().err)
    assert (said["level"], "the thread writer died" in said["message"]) == ("critical", True)
    assert "RuntimeError" in said["exception"]


ASKED = [
    (["record", "a", "--log-format", "json"], None, "json"),
    (["record", "a", "--log-format=json"], None, "json"),
    (["record", "a", "--log-format=json", "--log-format", "text"], None, "text"),
    (["record", "a"], "json", "json"),
    (["record", "a", "--log-format", "text"], "json", "text"),
    (["record", "a", "--log-format", "xml"], None, "text"),
    (["record", "a", "--log-format"], None, "text"),
    (["exec", "a", "--", "b", "--log-format", "json"], None, "text"),
    ([], "yaml", "text"),
]


@pytest.mark.parametrize(("words", "environment", "form"), ASKED)
def test_the_form_is_known_before_the_words_are_understood(
    words: list[str], environment: str | None, form: str
) -> None:
    """So that what is wrong with them is said in it too."""
    assert messages.requested_form(words, environment) == form


MISTAKES: list[tuple[list[str], dict[str, str], int, str]] = [
    (["replay", "{}", "--log-format", "json", "--sped", "1"], {}, 2, "No such option"),
    (["replay", "--log-format=json"], {}, 2, "Missing argument"),
    (["record", "{}/a", "--upstream", "x", "--log-format", "json"], {}, 2, "write http://HOST:PORT"),
    (["replay", "{}/nothing.cassette"], {"REPLAYPROXY_LOG_FORMAT": "json"}, 2, "does not exist"),
    (["--config", "{}/c.yaml", "replay", "{}/nothing.cassette"], {}, 2, "does not exist"),
    (["simulate", "--log-format", "json"], {"REPLAYPROXY_SPED": "1"}, 2, "REPLAYPROXY_SPED is not known"),
]


@pytest.mark.parametrize(
    ("words", "variables", "code", "sentence"), MISTAKES, ids=[" ".join(row[0]) for row in MISTAKES]
)
def test_a_mistake_is_an_object_too(
    read: Read,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    variables: dict[str, str],
    code: int,
    sentence: str,
) -> None:
    """Usage, settings, cassettes; by the flag, the variable or the config file."""
    (tmp_path / "c.yaml").write_text("replay:\n  log-format: json\n")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ran = read(*(word.format(tmp_path) for word in words))
    (said,) = lines(ran.err)
    assert (ran.code, said["level"], said["exit_code"]) == (code, "error", code)
    assert sentence in said["message"]


def test_a_recorder_s_whole_life_is_json(tmp_path: Path) -> None:
    """Start, warnings, end; nothing else is on stderr."""
    flags = ("--port", "0", "--log-format", "json")
    with running("simulate", *flags, "--model", "tiny") as server:
        cassette = tmp_path / "a.cassette"
        with running("record", cassette, "--upstream", server.url, *flags, "--admin-port", "0") as recorder:
            pass
    first, last = lines(recorder.said)
    assert (first["url"], first["admin_url"], first["pid"]) == (recorder.url, recorder.admin_url, recorder.pid)
    assert (last["recorded"], last["dropped"], last["cassettes"]) == (0, 0, [str(cassette)])
    assert [line["message"].partition(" ")[0] for line in lines(server.said)] == [server.url, "stopped"]


def test_the_account_of_a_run_is_json(tmp_path: Path) -> None:
    """A record for each cause of misses, and one for the end; what the command says is its own."""
    cassette = tape(tmp_path / "a.cassette", "hello", "unused")
    ran = execute(cassette, "--log-format", "json", "--", *asking("hello", "missed"))
    assert ran.code == 3
    missed, unused, end = lines(ran.err)
    assert (missed["level"], missed["code"], missed["times"]) == ("warning", "nothing_close", 1)
    assert len(unused["unused"]) == 1
    assert (end["level"], end["verdict"], end["exit_code"], end["served"]) == ("error", "misses", 3, 1)


def test_a_terminal_that_is_gone_changes_no_exit_code(tmp_path: Path) -> None:
    """Nobody reads stderr any more: the end is as good as it was."""
    cassette = tmp_path / "a.cassette"
    with running("simulate", "--port", "0") as server:
        command = [*PROGRAM, "record", str(cassette), "--upstream", server.url, "--port", "0", "--admin-port", "off"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment(), start_new_session=True) as recorder:
            assert recorder.stderr is not None
            assert b"recording http" in recorder.stderr.readline()
            recorder.stderr.close()
            recorder.send_signal(signal.SIGTERM)
            assert recorder.wait(60) == 0


def test_an_error_of_ours_is_said_and_not_thrown(read: Read, monkeypatch: pytest.MonkeyPatch, mixed: Path) -> None:
    """A bug has a traceback for us, in the process's form, without control characters; exit code 1."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(ESCAPES)

    monkeypatch.setattr("replayproxy.cassette.browse.CassetteBrowser.columns", broken)
    ran = read("ls", mixed)
    assert (ran.code, "an internal error: please report this" in ran.err) == (1, True)
    assert "RuntimeError" in ran.err
    assert not set(ran.err) & set("\x1b\x07\x9b\u202e")


def test_what_was_set_is_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever calls `main` as a function keeps its own logging."""
    before = logging.getLogger().handlers[:], threading.excepthook, logging.getLogger().level
    with messages.speaking("json"):
        assert messages.is_json()
    assert not messages.is_json()
    assert (logging.getLogger().handlers[:], threading.excepthook, logging.getLogger().level) == before
    assert sys.stderr.write("") == 0
    assert capsys.readouterr().err == ""
