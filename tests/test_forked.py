"""A forked `replayproxy` is to its caller what a started one is."""

from __future__ import annotations

import os
import signal
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.forked import DEVNULL, PIPE, Forked, on_path, run
from tests.processes import PROGRAM, environment


@pytest.mark.parametrize("words", [("--version",), ("ls", "nowhere.cassette"), ("replya",), ("ls", "--help")])
def test_it_says_and_returns_what_a_started_one_does(tmp_path: Path, words: tuple[str, ...]) -> None:
    """The same bytes on stdout and stderr, the same exit code."""
    started = subprocess.run(
        [*PROGRAM, *words], capture_output=True, text=True, env=environment(), cwd=tmp_path, check=False
    )
    forked = run(words, env=environment())
    assert (forked.returncode, forked.stdout, forked.stderr) == (started.returncode, started.stdout, started.stderr)


def test_it_has_the_callers_folder_and_the_environment_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of now, not of when the server was started."""
    monkeypatch.chdir(tmp_path)
    ran = run(["ls", "a.cassette"], env={**environment(), "REPLAYPROXY_SPED": "1"})
    assert (ran.returncode, "REPLAYPROXY_SPED is not known" in ran.stderr) == (2, True)
    (tmp_path / "a.cassette").write_text("text")
    assert "a.cassette is not a cassette" in run(["ls", "a.cassette"], env=environment()).stderr


def test_it_takes_signals_and_tells_by_which_it_ended() -> None:
    """Minus the number, as `subprocess` does; its pid is its own."""
    flags = ["--port", "0", "--admin-port", "off"]
    server = Forked(["simulate", *flags], stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, env=environment())
    assert server.stderr is not None
    with server.stderr:
        assert "http://127.0.0.1:" in server.stderr.readline()
        assert (server.poll(), server.pid in (os.getpid(), os.getppid())) == (None, False)
        with pytest.raises(subprocess.TimeoutExpired):
            server.wait(0)
        server.kill()
        assert server.wait(30) == -signal.SIGKILL
        server.terminate()  # nobody of that pid is sought


def test_it_reads_what_it_is_given() -> None:
    """stdin is a pipe to it, which ends."""
    ran = run(["ls", "-"], stdin="no cassette", env=environment())
    assert ran.returncode == 2


@pytest.mark.parametrize(
    "words", ["--version", "ls nowhere.cassette", "ls --help | head -n 1", "x=$(replayproxy -V); echo $x"]
)
def test_a_script_finds_it_as_it_finds_the_installed_one(tmp_path: Path, words: str) -> None:
    """The same output, the same exit code: the one of the console script."""

    def ran(folder: str) -> tuple[int, str, str]:
        script = words if "$" in words else f"replayproxy {words}"
        variables = {**environment(), "PATH": f"{folder}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["sh", "-c", script],  # noqa: S607  the one on the PATH
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=variables,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    assert ran(str(on_path())) == ran(sysconfig.get_path("scripts"))


def test_a_script_ends_it_by_a_signal(tmp_path: Path) -> None:
    """What `kill $!` sends is passed on, and `wait` gets its exit code."""
    script = """
    replayproxy simulate --port 0 --admin-port off --ready-file ready.json 2> said &
    while [ ! -s ready.json ]; do sleep 0.01; done
    kill $!
    wait $!
    echo "ended with $?"
    """
    variables = {**environment(), "PATH": f"{on_path()}:{os.environ['PATH']}"}
    ran = subprocess.run(
        ["bash", "-c", script],  # noqa: S607  the one on the PATH
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=variables,
        check=True,
    )
    assert (ran.stdout, "stopped" in (tmp_path / "said").read_text()) == ("ended with 0\n", True)
