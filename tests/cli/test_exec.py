"""`exec` with real commands: who decides the exit code, who gets signals, what the command sees, what is written."""

from __future__ import annotations

import hashlib
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import orjson
import pytest

from replayproxy.cassette.reader import CassetteReader
from tests.cli.commands import asking, execute, python, tape
from tests.cli.tapes import Read
from tests.cli.test_mistakes import a_cassette, newer
from tests.processes import PROGRAM, environment, replaying, running


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    """Three chats: a, b, c."""
    return tape(tmp_path / "chat.cassette", "a", "b", "c")


# Exit codes

CHAT = asking("a")
EVERYTHING = asking("a", "b", "c")

ENDS: list[tuple[str, list[str], list[str], int, str]] = [
    ("all served", [], CHAT, 0, "replayproxy passed: 1 answer from recordings, no misses"),
    ("the child's code wins", [], python("raise SystemExit(9)"), 9, "ended with exit code 9"),
    ("a miss", [], asking("a", "z", "z"), 3, "replayproxy failed, exit code 3: 2 requests had no recording"),
    ("asked again", [], asking("a", "a"), 3, "was recorded once and is asked for the 2nd time"),
    ("asked again, in a circle", ["--at-end", "cycle"], asking("a", "a"), 0, "2 answers from recordings"),
    ("unused", ["--fail-unused"], CHAT, 4, "2 of 3 recordings were not used"),
    ("all used", ["--fail-unused"], EVERYTHING, 0, "3 answers from recordings"),
    ("nothing was asked", [], ["true"], 7, "nothing was served, so nothing was tested"),
    ("nothing, and that is in order", ["--allow-empty"], ["true"], 0, "replayproxy passed"),
    ("killed", [], ["sh", "-c", "kill -9 $$"], 137, "was killed by SIGKILL"),
    ("crashed", [], python("import os; os.abort()"), 134, "was killed by SIGABRT"),
    ("not there", [], ["no-such-command"], 127, "`no-such-command` is not there: install it"),
    ("not to be started", [], ["/"], 126, "`/` cannot be started"),
]


@pytest.mark.parametrize(("flags", "command", "code", "said"), [row[1:] for row in ENDS], ids=[row[0] for row in ENDS])
def test_the_exit_code_says_what_became_of_the_run(
    cassette: Path, flags: list[str], command: list[str], code: int, said: str
) -> None:
    """The command's own code where it is not 0; else ours; and a sentence with it."""
    ran = execute(cassette, *flags, "--", *command)
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert ran.code == code


def missing(folder: Path) -> list[str]:
    """A file that is not there."""
    return [str(folder / "nothing.cassette")]


def other_format(folder: Path) -> list[str]:
    """A cassette from the future."""
    return newer(folder)[1:]


def port_in_use(folder: Path) -> list[str]:
    """Somebody listens there."""
    busy = socket.create_server(("127.0.0.1", 0))
    _kept.append(busy)
    return [str(a_cassette(folder / "a.cassette")), "--port", str(busy.getsockname()[1])]


_kept: list[socket.socket] = []

NOT_STARTED: list[tuple[Callable[[Path], list[str]], int, str]] = [
    (missing, 2, "does not exist: record one with"),
    (other_format, 2, "has cassette format 99"),
    (port_in_use, 2, "choose another --port, or 0 for a free one"),
]


@pytest.mark.parametrize(("mistake", "code", "sentence"), NOT_STARTED, ids=[row[0].__name__ for row in NOT_STARTED])
def test_what_is_wrong_before_the_command_keeps_it_from_being_started(
    tmp_path: Path, mistake: Callable[[Path], list[str]], code: int, sentence: str
) -> None:
    """A sentence, and the exit code of any other verb."""
    ran = execute(*mistake(tmp_path), "--", "echo", "started")
    assert sentence in " ".join(ran.err.split())
    assert (ran.code, ran.out) == (code, "")
    while _kept:
        _kept.pop().close()


LIVE = ["--upstream", "http://127.0.0.1:9"]

MISSPOKEN: list[tuple[list[str], str]] = [
    (["a.cassette"], "give the command after --, such as `replayproxy exec chat.cassette -- npm test`"),
    (["a.cassette", "--"], "give the command after --"),
    (["a.cassette", "npm", "test"], "give the command after --"),
    (["a.cassette", "--on-miss", "record", "--", "true"], "--on-miss record needs a live server"),
    (["a.cassette", *LIVE, "--", "true"], "replay opens no connection upstream unless it is told to"),
    (["a.cassette", "b.cassette", "--on-miss", "record", *LIVE, "--", "true"], "name exactly one"),
    (["a.cassette", "--auto", *LIVE, "--", "true"], "exec has no --auto: write --on-miss record"),
    (["--", "true"], "Missing argument 'CASSETTE...'"),
]


@pytest.mark.parametrize(("words", "said"), MISSPOKEN, ids=[" ".join(words) for words, _ in MISSPOKEN])
def test_what_makes_no_sense_is_a_matter_of_usage(read: Read, words: list[str], said: str) -> None:
    """Exit code 2, and what to write instead."""
    ran = read("exec", *words)
    assert ran.code == 2
    assert said in ran.err


# What the command sees


def test_the_command_is_told_where_the_recordings_are(cassette: Path) -> None:
    """Base URLs in the words of the SDKs, a key where there is none, and no HTTP proxy in between."""
    names = ["OPENAI_BASE_URL", "OPENAI_API_BASE", "ANTHROPIC_BASE_URL", "REPLAYPROXY_URL"]
    names += ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "NO_PROXY", "no_proxy"]
    told = python("import json, os, sys; print(json.dumps([os.environ.get(name) for name in sys.argv[1:]]))", *names)
    flags = ["--allow-empty", "--", *told]
    ran = execute(cassette, *flags, OPENAI_API_KEY="mine", ANTHROPIC_API_KEY="", NO_PROXY="internal", no_proxy="")
    openai, base, anthropic, ours, key, other_key, *around = orjson.loads(ran.out)
    assert ours.startswith("http://127.0.0.1:")
    assert (openai, base, anthropic) == (f"{ours}/v1", f"{ours}/v1", ours)
    assert (key, other_key) == ("mine", "replayproxy")
    assert around == ["internal,127.0.0.1,localhost"] * 2


def test_stdin_and_stdout_are_the_commands(cassette: Path) -> None:
    """Nothing of ours goes to stdout; what is piped in reaches the command."""
    ran = execute(cassette, "--allow-empty", "--", "cat", stdin="through\n")
    assert (ran.code, ran.out) == (0, "through\n")


def test_ctl_inside_finds_the_admin_port(cassette: Path) -> None:
    """Where there is one: its URL is the default of `ctl --admin`."""
    ran = execute(cassette, "--admin-port", "0", "--allow-empty", "--", *PROGRAM, "ctl", "status")
    assert (ran.code, ran.out) == (0, "status     ready\n")


def test_a_replayproxy_inside_finds_the_one_outside(cassette: Path) -> None:
    """REPLAYPROXY_URL is no unknown variable to ourselves."""
    ran = execute(cassette, "--allow-empty", "--", *PROGRAM, "ls", cassette)
    assert ran.code == 0, ran.err


# Signals

_LISTENING = """
import os, signal, sys, time
def hear(number, frame):
    os.write(1, (signal.Signals(number).name + "\\n").encode())
    if number == signal.SIGQUIT:
        os._exit(5)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, hear)
signal.alarm(60)
os.write(1, b"ready\\n")
while True:
    signal.pause()
"""


@contextmanager
def killed_on_failure(process: subprocess.Popen[Any]) -> Iterator[None]:
    """A test that fails does not wait for what it has started."""
    try:
        yield
    except BaseException:
        process.kill()
        raise


def test_a_signal_to_us_reaches_the_command_once(cassette: Path) -> None:
    """In order, each once; we outlive it until the command has ended, and pass its code on."""
    with (
        subprocess.Popen(
            [*PROGRAM, "exec", cassette, "--", *python(_LISTENING)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        ) as process,
        killed_on_failure(process),
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            process.send_signal(number)
            assert process.stdout.readline() == f"{number.name}\n"
        process.send_signal(signal.SIGQUIT)
        rest, said = process.communicate(timeout=30)
    assert rest == "SIGQUIT\n"
    assert process.returncode == 5
    assert "ended with exit code 5" in said


def test_a_signal_that_ends_the_command_is_its_exit_code(cassette: Path) -> None:
    """128 + 15, and a report."""
    with (
        subprocess.Popen(
            [*PROGRAM, "exec", cassette, "--", "sh", "-c", "echo ready; exec sleep 60"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        ) as process,
        killed_on_failure(process),
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        _, said = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "was killed by SIGTERM" in said


def test_the_command_has_the_signals_that_we_were_given(cassette: Path) -> None:
    """Under nohup SIGHUP stays ignored; and nothing of what we block is blocked there."""
    told = "import signal; print(signal.getsignal(signal.SIGHUP).name, signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    nohup = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"]
    ran = subprocess.run(
        [*nohup, *PROGRAM, "exec", cassette, "--allow-empty", "--", *python(told)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "SIG_IGN set()\n"), ran.stderr


_CONTROLLED = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def words(terminal: int) -> Iterator[str]:
    """What a terminal shows, line by line, without the keys that it echoes."""
    said = b""
    while True:
        try:
            said += os.read(terminal, 65536)
        except OSError:  # EIO: nobody has the other side open any more
            return
        *whole, said = said.split(b"\n")
        for line in whole:
            yield line.decode().strip().replace("^C", "").replace("^\\", "")


@contextmanager
def on_a_terminal(cassette: Path, program: str) -> Iterator[tuple[subprocess.Popen[bytes], int, Iterator[str]]]:
    """`exec` with a controlling terminal: the process, its keyboard, and what it shows."""
    ours, theirs = pty.openpty()
    command = [*python(_CONTROLLED), *PROGRAM, "exec", str(cassette), "--", *python(program)]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(), start_new_session=True
    ) as process:
        os.close(theirs)
        with killed_on_failure(process):
            yield process, ours, words(ours)
    os.close(ours)


def test_what_a_terminal_sends_reaches_the_command(cassette: Path) -> None:
    """Ctrl-C is no end of ours: the command decides what follows. And a terminal stays one."""
    program = "import os; print([os.isatty(number) for number in (0, 1, 2)], flush=True)\n" + _LISTENING
    with on_a_terminal(cassette, program) as (process, keyboard, said):
        assert next(said) == "[True, True, True]"
        assert next(said) == "ready"
        for key, name in ((b"\x03", "SIGINT"), (b"\x03", "SIGINT"), (b"\x1c", "SIGQUIT")):
            os.write(keyboard, key)
            assert next(said) == name
        assert any("exit code 5" in line for line in said)
    assert process.returncode == 5


def test_what_a_terminal_sends_is_not_sent_again(cassette: Path) -> None:
    """The foreground group has it already; a command that has left the group wants it from nobody."""
    with on_a_terminal(cassette, "import os; os.setpgid(0, 0)\n" + _LISTENING) as (process, keyboard, said):
        assert next(said) == "ready"
        os.write(keyboard, b"\x03")
        assert os.read(keyboard, 2) == b"^C"  # echoed, so the signal has been sent
        for number in (signal.SIGTERM, signal.SIGQUIT):
            process.send_signal(number)
            assert next(said) == number.name
    assert process.returncode == 5


# Files


def test_where_nobody_reads_stderr_the_exit_code_is_the_same(cassette: Path, tmp_path: Path) -> None:
    """`2>&1 | head -1`: the files are written, and 3 is 3."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [*PROGRAM, "exec", str(cassette), "--report", str(tmp_path / "run.json"), "--", *asking("z")]
    ran = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=writing, env=environment(), timeout=60, check=False)
    os.close(writing)
    assert ran.returncode == 3
    assert orjson.loads((tmp_path / "run.json").read_bytes())["exit_code"] == 3


def test_the_report_says_everything(cassette: Path, tmp_path: Path) -> None:
    """JSON: verdict, codes, times, digests of the cassettes as they were, misses, unused."""
    report = tmp_path / "run.json"
    execute(cassette, "--report", report, "--", *asking("a", "z", "z"))
    said = orjson.loads(report.read_bytes())
    assert (said["verdict"], said["exit_code"], said["child_exit_code"], said["isolated"]) == ("misses", 3, 0, True)
    assert said["command"][0] == sys.executable
    assert said["started"] < said["ended"]
    assert [(miss["code"], miss["times"]) for miss in said["misses"]] == [("nothing_close", 2)]
    assert (said["served"], said["recordings"], len(said["unused"])) == (1, 3, 2)
    ((name, digest),) = said["sha256"].items()
    assert (name, digest) == (str(cassette), hashlib.sha256(cassette.read_bytes()).hexdigest())


def test_the_files_are_there_also_for_a_failed_command(cassette: Path, tmp_path: Path) -> None:
    """The receipt names both codes; nothing served is not isolated but nothing."""
    report = tmp_path / "run.json"
    ran = execute(cassette, "--report", report, "--", "sh", "-c", "exit 9")
    said = orjson.loads(report.read_bytes())
    assert (ran.code, said["exit_code"], said["child_exit_code"], said["verdict"]) == (9, 9, 9, "child")
    assert said["isolated"] is False


def test_a_report_that_cannot_be_written_is_a_mistake(cassette: Path, tmp_path: Path) -> None:
    """And is said before the command is run."""
    ran = execute(cassette, "--report", tmp_path / "no" / "run.json", "--", *CHAT)
    assert (ran.code, ran.out) == (2, "")
    assert "cannot be written: No such file or directory" in ran.err


def test_junit_has_a_case_for_each_cause(cassette: Path, tmp_path: Path) -> None:
    """Failures for causes, unused, vacuous; one passing case for what was served; the counts add up."""
    found = tmp_path / "junit.xml"
    execute(cassette, "--junit", found, "--fail-unused", "--", *asking("a", "z", "a"))
    suite = ElementTree.fromstring(found.read_bytes()).find("testsuite")  # noqa: S314  it is ours
    assert suite is not None
    cases = {case.get("name"): case.find("failure") for case in suite}
    failed = {name: failure.get("type") for name, failure in cases.items() if failure is not None}
    assert failed == {
        "m-0001 POST /v1/chat/completions": "nothing_close",
        "m-0002 POST /v1/chat/completions": "exhausted",
        "no unused recordings": "unused",
    }
    assert "1 answer from recordings" in cases
    assert (suite.get("tests"), suite.get("failures")) == (str(len(cases)), "3")


def test_github_gets_annotations_and_a_summary(cassette: Path, tmp_path: Path) -> None:
    """Escaped as GitHub says, and the summary is appended to what is there."""
    summary = tmp_path / "summary.md"
    summary.write_text("# before\n")
    ran = execute(cassette, "--", *asking("a", "z"), GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    errors = [line for line in ran.err.splitlines() if line.startswith("::")]
    assert errors[0].startswith("::error title=replayproxy%3A misses::1 request had no recording: record")
    assert errors[1].startswith("::error title=replayproxy%3A nothing_close x1%2C POST /v1/chat/completions::no rec")
    said = summary.read_text()
    assert said.startswith("# before\n### replayproxy failed (misses, exit code 3)\n")
    assert "| m-0001 | 1 | nothing\\_close | POST /v1/chat/completions | no recording matches" in said


def test_elsewhere_there_are_no_annotations(cassette: Path) -> None:
    """Only where GitHub says that it listens."""
    assert "::error" not in execute(cassette, "--", *asking("z")).err


# Recording what is missing


def test_what_is_missing_is_recorded_and_nothing_else(cassette: Path) -> None:
    """`--on-miss record` adds the one request; then the run passes without a server, and nothing of it is unused."""
    before = _ids(cassette)
    with running("simulate", "--model", "tiny", "--port", "0", "--admin-port", "off") as server:
        live = ["--on-miss", "record", "--upstream", server.url, "--fail-unused"]
        ran = execute(cassette, *live, "--", *asking("a", "b", "c", "new"))
    assert ran.code == 0, ran.err
    assert "3 answers from recordings, 1 recorded, no misses" in ran.err
    after = _ids(cassette)
    assert (after[:3], len(after)) == (before, 4)
    assert execute(cassette, "--fail-unused", "--", *asking("a", "b", "c", "new")).code == 0


def test_a_first_run_makes_the_cassette(tmp_path: Path) -> None:
    """`--on-miss record` with nothing there yet; a request asked twice is recorded twice."""
    cassette = tmp_path / "new.cassette"
    with running("simulate", "--model", "tiny", "--port", "0", "--admin-port", "off") as server:
        ran = execute(cassette, "--on-miss", "record", "--upstream", server.url, "--", *asking("a", "a"))
    assert ran.code == 0, ran.err
    assert len(_ids(cassette)) == 2
    assert execute(cassette, "--fail-unused", "--", *asking("a", "a")).code == 0


def test_what_is_recorded_is_redacted_as_asked(tmp_path: Path) -> None:
    """`--redact` counts here as for `record`."""
    cassette = tmp_path / "new.cassette"
    with running("simulate", "--model", "tiny", "--port", "0", "--admin-port", "off") as server:
        live = ["--on-miss", "record", "--upstream", server.url, "--redact", "re:swordfish"]
        ran = execute(cassette, *live, "--", *asking("my word is swordfish"))
    assert ran.code == 0, ran.err
    with CassetteReader(cassette) as opened:
        assert b"swordfish" not in opened.request(1).body


def _ids(cassette: Path) -> list[str]:
    with CassetteReader(cassette) as opened:
        return [row["id"] for row in opened.rows(order="number")]


# Nothing goes out


def test_nobody_is_asked_upstream(cassette: Path) -> None:
    """A server that every proxy variable names sees no connection, on hits and on misses."""
    with socket.create_server(("127.0.0.1", 0)) as counting:
        url = f"http://127.0.0.1:{counting.getsockname()[1]}"
        variables = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "OPENAI_BASE_URL"), url)
        ran = execute(cassette, "--", *asking("a", "z"), **variables)
        assert ran.out == "a 200\nz 404\n"
        counting.setblocking(False)
        with pytest.raises(BlockingIOError):
            counting.accept()


_LOOPBACK_ALONE = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any:
    flags = fcntl.ioctl(any, 0x8913, struct.pack("16sh14x", b"lo", 0))  # SIOCGIFFLAGS
    up = struct.unpack("16sh14x", flags)[1] | 1
    fcntl.ioctl(any, 0x8914, struct.pack("16sh14x", b"lo", up))  # SIOCSIFFLAGS, IFF_UP
assert open("/proc/net/route").read().count("\\n") <= 1, "there are routes"
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_a_replay_needs_no_network(cassette: Path) -> None:
    """In a network namespace that has nothing but a loopback."""
    alone = ["unshare", "--map-root-user", "--net"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace can be made here: allow user namespaces, or run as root")
    ran = subprocess.run(
        [*alone, *python(_LOOPBACK_ALONE), *PROGRAM, "exec", cassette, "--", *asking("a", "z")],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=False,
    )
    assert ran.stdout == "a 200\nz 404\n", ran.stderr
    assert ran.returncode == 3


# `replay` is judged by the same code


def test_replay_writes_the_same_report_and_knows_unused(cassette: Path, tmp_path: Path) -> None:
    """`--report`, `--junit`, `--fail-unused`: exit code 4; without a command, and never 7."""
    report = tmp_path / "run.json"
    with replaying(cassette, "--report", str(report), "--junit", str(tmp_path / "j.xml"), "--fail-unused") as proxy:
        subprocess.run(asking("a"), env=os.environ | {"OPENAI_BASE_URL": f"{proxy.url}/v1"}, check=True)
    assert proxy.code == 4
    said = orjson.loads(report.read_bytes())
    assert (said["verdict"], said["command"], said["child_exit_code"], said["served"]) == ("unused", None, None, 1)
    assert b'failures="1"' in (tmp_path / "j.xml").read_bytes()
    with replaying(cassette) as proxy:
        pass
    assert proxy.code == 0
