"""Bad input gets a sentence that says what to do, the right exit code, and no traceback."""

from __future__ import annotations

import os
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from replayproxy.cassette.schema import FORMAT
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.model import Chunks, End, Ending, Head, Request
from replayproxy.ports import ExchangePart
from tests.cli.tapes import Read
from tests.forked import run
from tests.processes import environment, recording, replayproxy


def a_cassette(path: Path, exchanges: int = 30) -> Path:
    """A sealed cassette with some exchanges."""
    keeper = CassetteWriter(path, Matcher(MatchRules()))
    keeper.begin()
    for number in range(exchanges):
        head, end = Head(1_000_000, 200, ()), End(3_000_000, Ending.COMPLETE)
        request = Request("POST", "/v1/chat/completions", (), os.urandom(300).hex().encode())
        keeper.keep(ExchangePart(number, request, 1, head, Chunks(b"data: 1\n\n", (9,), (2_000_000,)), end))
    keeper.commit()
    keeper.seal()
    return path


def missing(folder: Path) -> list[str]:
    """A file that is not there."""
    return ["replay", str(folder / "nothing.cassette")]


def misspelt(folder: Path) -> list[str]:
    """A letter is wrong."""
    a_cassette(folder / "chat.cassette")
    return ["replay", str(folder / "chat.cassete")]


def without_suffix(folder: Path) -> list[str]:
    """The end of the name is left away."""
    a_cassette(folder / "chat.cassette")
    return ["ls", str(folder / "chat")]


def a_folder(folder: Path) -> list[str]:
    """A folder with a cassette in it."""
    a_cassette(folder / "chat.cassette")
    return ["replay", str(folder)]


def record_to_a_folder(folder: Path) -> list[str]:
    """A folder to record to."""
    return ["record", str(folder), "--upstream", f"http://127.0.0.1:{busy_port()}"]


def wrong_folder(folder: Path) -> list[str]:
    """A folder that is not there, near one that is."""
    (folder / "cassettes").mkdir()
    return ["show", str(folder / "casettes" / "a.cassette")]


def an_empty_file(folder: Path) -> list[str]:
    """Made by touch."""
    (folder / "a.cassette").touch()
    return ["verify", str(folder / "a.cassette")]


def a_device(folder: Path) -> list[str]:
    """Not even a file."""
    return ["info", "/dev/null"]


def ignored_rule(folder: Path) -> list[str]:
    """verify compares no requests by itself."""
    return ["verify", str(a_cassette(folder / "a.cassette")), "--match-normalise", "foo"]


def ignored_redaction(folder: Path) -> list[str]:
    """Nor does it look for secrets."""
    return ["verify", str(a_cassette(folder / "a.cassette")), "--redact", "re:x"]


def no_port(folder: Path) -> list[str]:
    """A port is a number."""
    return ["simulate", "--port", "http"]


def no_admin_port(folder: Path) -> list[str]:
    """A port is not above 65535."""
    return ["simulate", "--admin-port", "70000"]


def half_a_pair(folder: Path) -> list[str]:
    """A connector's address, and no pair."""
    return ["record", str(folder / "a.cassette"), "--upstream", "http://127.0.0.1:1", "--prefill-kv", "a:1"]


def help_as_a_verb(folder: Path) -> list[str]:
    """As git has it."""
    return ["help"]


def text(folder: Path) -> list[str]:
    """A file that is no SQLite file."""
    (folder / "a.txt").write_text("hello " * 1000)
    return ["replay", str(folder / "a.txt")]


def foreign(folder: Path) -> list[str]:
    """Somebody else's SQLite file."""
    connection = sqlite3.connect(folder / "a.db")
    connection.execute("CREATE TABLE a (b)")
    connection.close()
    return ["replay", str(folder / "a.db")]


def newer(folder: Path) -> list[str]:
    """A cassette from the future."""
    path = a_cassette(folder / "a.cassette")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    return ["replay", str(path)]


def truncated(folder: Path) -> list[str]:
    """A cassette that lost its tail."""
    path = a_cassette(folder / "a.cassette")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return ["verify", str(path)]


def replay_truncated(folder: Path) -> list[str]:
    """The same, in earnest."""
    return ["replay", truncated(folder)[1]]


def port_in_use(folder: Path) -> list[str]:
    """Somebody listens there."""
    busy = socket.create_server(("127.0.0.1", 0))
    _kept.append(busy)
    return ["replay", str(a_cassette(folder / "a.cassette")), "--port", str(busy.getsockname()[1])]


def busy_port() -> str:
    """A port that somebody else has."""
    busy = socket.create_server(("127.0.0.1", 0))
    _kept.append(busy)
    return str(busy.getsockname()[1])


def silent_upstream() -> list[str]:
    """One that takes connections and answers none: it is not probed, for that would be waited for."""
    return ["--upstream", f"http://127.0.0.1:{busy_port()}", "--no-probe"]


def record_on_a_port_in_use(folder: Path) -> list[str]:
    """The same while recording: the upstream is there."""
    server = silent_upstream()
    ready = str(folder / "ready.json")
    return ["record", str(folder / "a.cassette"), *server, "--port", busy_port(), "--ready-file", ready]


def admin_port_in_use(folder: Path) -> list[str]:
    """The data port is free, the admin port is not; a Unix socket was made before."""
    uds, ready = str(folder / "a.sock"), str(folder / "ready.json")
    flags = ["--uds", uds, "--admin-port", busy_port(), "--ready-file", ready]
    return ["auto", str(folder / "a.cassette"), *silent_upstream(), *flags]


def bad_tls(folder: Path) -> list[str]:
    """A certificate that is none."""
    (folder / "a.pem").write_text("no certificate")
    tls = ["--ssl-certfile", str(folder / "a.pem"), "--ssl-keyfile", str(folder / "a.pem")]
    return ["record", str(folder / "a.cassette"), *silent_upstream(), "--port", "0", *tls]


def no_key(folder: Path) -> list[str]:
    """A file for the API key that is not there."""
    server = f"http://127.0.0.1:{busy_port()}"
    return ["record", str(folder / "a.cassette"), "--upstream", server, "--api-key-file", str(folder / "no.key")]


def two_upstreams(folder: Path) -> list[str]:
    """The first one would be left out without a word."""
    return ["record", str(folder / "a.cassette"), "--upstream", "http://a.test", "--upstream", "http://b.test"]


def nobody_listens(folder: Path) -> list[str]:
    """An upstream that is not up."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))  # and does not listen
    _kept.append(bound)
    upstream = f"http://127.0.0.1:{bound.getsockname()[1]}"
    return ["record", str(folder / "a.cassette"), "--upstream", upstream, "--port", "0"]


def ends_in_v1(folder: Path) -> list[str]:
    """What everybody writes once."""
    return ["record", str(folder / "a.cassette"), "--upstream", "http://127.0.0.1:8000/v1"]


def no_url(folder: Path) -> list[str]:
    """A host alone."""
    return ["record", str(folder / "a.cassette"), "--upstream", "localhost:8000"]


def unknown_flag(folder: Path) -> list[str]:
    """A flag that nobody has."""
    return ["replay", str(folder / "a.cassette"), "--sped", "1"]


def unknown_verb(folder: Path) -> list[str]:
    """A verb that nobody has."""
    return ["rekord", str(folder)]


def unknown_key(folder: Path) -> list[str]:
    """A misspelt key."""
    (folder / "c.yaml").write_text("replay:\n  sped: 1\n")
    return ["--config", str(folder / "c.yaml"), "replay", str(folder / "a.cassette")]


def unknown_section(folder: Path) -> list[str]:
    """A misspelt verb in the config file."""
    (folder / "c.yaml").write_text("repaly:\n  speed: 1\n")
    return ["--config", str(folder / "c.yaml"), "replay", str(folder / "a.cassette")]


def no_yaml(folder: Path) -> list[str]:
    """Not YAML at all."""
    (folder / "c.yaml").write_text("a: [")
    return ["--config", str(folder / "c.yaml"), "replay", str(folder / "a.cassette")]


def bad_path(folder: Path) -> list[str]:
    """A JSONPath that is none."""
    return ["replay", str(a_cassette(folder / "a.cassette")), "--match-ignore", "messages[["]


def upstream_for_nothing(folder: Path) -> list[str]:
    """Replay that refuses has no use for a server."""
    return ["replay", str(a_cassette(folder / "a.cassette")), "--upstream", "http://127.0.0.1:8000"]


def miss_without_upstream(folder: Path) -> list[str]:
    """Forwarding needs a server."""
    return ["replay", str(a_cassette(folder / "a.cassette")), "--on-miss", "forward"]


def no_folder(folder: Path) -> list[str]:
    """A cassette where there is no folder."""
    return ["record", str(folder / "no" / "a.cassette"), "--upstream", "http://127.0.0.1:8000"]


_kept: list[socket.socket] = []

MISTAKES: list[tuple[Callable[[Path], list[str]], int, str]] = [
    (missing, 2, "does not exist: record one with"),
    (text, 2, "is not a cassette: give a file written by"),
    (foreign, 2, "is an SQLite file but not a cassette"),
    (newer, 2, f"has cassette format 99, this replayproxy reads up to {FORMAT}: update replayproxy"),
    (truncated, 6, "Restore it from a copy"),
    (replay_truncated, 6, "Restore it from a copy"),
    (port_in_use, 2, "choose another --port, or 0 for a free one"),
    (record_on_a_port_in_use, 2, "choose another --port, or 0 for a free one"),
    (admin_port_in_use, 2, "choose another --admin-port, or 0 for a free one, or off"),
    (bad_tls, 2, "--ssl-certfile"),
    (no_key, 2, "no.key cannot be read"),
    (two_upstreams, 2, "--upstream takes one value and is given several (http://a.test, http://b.test): choose"),
    (nobody_listens, 1, "start it, or give another --upstream; or, where it is only slower to start than this, wait"),
    (ends_in_v1, 2, "write http://127.0.0.1:8000"),
    (no_url, 2, "write http://HOST:PORT"),
    (unknown_flag, 2, "--speed"),
    (unknown_verb, 2, "did you mean record?"),
    (unknown_key, 2, "replay has no option 'sped' (did you mean speed?)"),
    (unknown_section, 2, "there is no verb 'repaly' (did you mean replay?)"),
    (no_yaml, 2, "is not YAML"),
    (bad_path, 2, "is not a JSONPath (RFC 9535)"),
    (upstream_for_nothing, 2, "leave --upstream away"),
    (miss_without_upstream, 2, "give its URL with --upstream"),
    (no_folder, 2, "does not exist. Name a file in a folder you may write"),
]


TYPED: list[tuple[Callable[[Path], list[str]], int, str]] = [
    (misspelt, 2, "chat.cassete does not exist (did you mean"),
    (without_suffix, 2, "chat.cassette?)"),
    (a_folder, 2, "is a folder: name a cassette in it, such as"),
    (record_to_a_folder, 2, "is a folder: name a file in it, such as"),
    (wrong_folder, 2, "cassettes?)"),
    (an_empty_file, 2, "is empty: nothing was recorded on it"),
    (a_device, 2, "/dev/null is no file but a device"),
    (ignored_rule, 2, "--match-normalise has an effect in verify only with --self-match: add --self-match"),
    (ignored_redaction, 2, "--redact has an effect in verify only with --secrets"),
    (no_port, 2, "'http' is not a port: write a number from 0 to 65535"),
    (no_admin_port, 2, "'70000' is not a port: write a number from 0 to 65535, or off"),
    (half_a_pair, 2, "--prefill-kv is for a pair"),
    (help_as_a_verb, 2, "`replayproxy --help` lists them"),
]


@pytest.mark.parametrize(("mistake", "code", "sentence"), TYPED, ids=[row[0].__name__ for row in TYPED])
def test_what_is_typed_wrongly_is_said_in_the_words_that_were_typed(
    read: Read, tmp_path: Path, mistake: Callable[[Path], list[str]], code: int, sentence: str
) -> None:
    """With what was meant, where that can be guessed; nothing is left behind."""
    arguments = mistake(tmp_path)
    before = sorted(tmp_path.iterdir())
    ran = read(*arguments)
    assert (ran.code, sorted(tmp_path.iterdir())) == (code, before)
    assert sentence in " ".join((ran.err + ran.out).split())


@pytest.mark.parametrize(("mistake", "code", "sentence"), MISTAKES, ids=[row[0].__name__ for row in MISTAKES])
def test_a_mistake_gets_a_sentence_and_an_exit_code(
    read: Read, tmp_path: Path, mistake: Callable[[Path], list[str]], code: int, sentence: str
) -> None:
    """What happened, with which thing, what to do now; on one screen, without a traceback. Nothing stays behind."""
    arguments = mistake(tmp_path)
    before = sorted(tmp_path.iterdir())
    done = read(*arguments)
    assert sorted(tmp_path.iterdir()) == before
    said = " ".join((done.err + done.out).split())
    assert ".lock" not in said
    assert sentence in said
    assert "Traceback" not in said
    assert done.code == code
    while _kept:
        _kept.pop().close()


def test_an_unknown_environment_variable_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    """A misspelt variable that is ignored would be worse than none."""
    done = run(["replay", tmp_path / "a.cassette"], env=environment() | {"REPLAYPROXY_SPED": "1"})
    assert done.returncode == 2
    assert "REPLAYPROXY_SPED is not known (did you mean REPLAYPROXY_SPEED?)" in done.stderr


def test_a_second_recorder_is_refused_and_told_who_records(tmp_path: Path) -> None:
    """Exit code 2, with the pid of the first; the first records on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        upstream = f"http://127.0.0.1:{server.getsockname()[1]}"
        with recording(tmp_path / "a.cassette", upstream) as first:
            done = replayproxy("record", tmp_path / "a.cassette", "--upstream", upstream, "--port", "0")
    assert done.returncode == 2
    assert f"is being recorded by process {first.pid}" in done.stderr
    assert first.code == 0
