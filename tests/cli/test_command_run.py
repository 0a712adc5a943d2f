"""One run of `exec`, beside what `test_exec` sees of it: the environment of its command, and a signal before it."""

from __future__ import annotations

import signal
import socket
import threading
from pathlib import Path

import pytest

from replayproxy.cli.command_run import CommandRun, child_variables
from replayproxy.core.policy import Mode
from replayproxy.settings import Listen, Settings

LISTEN = Listen(port=0, admin_port=None)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {"OPENAI_API_KEY": "replayproxy", "ANTHROPIC_API_KEY": "replayproxy"}),
        ({"OPENAI_API_KEY": ""}, {"OPENAI_API_KEY": "replayproxy"}),
        ({"OPENAI_API_KEY": "mine", "HOME": "/root"}, {"OPENAI_API_KEY": "mine", "HOME": "/root"}),
        ({"OPENAI_BASE_URL": "http://live/v1"}, {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}),
        ({"REPLAYPROXY_ADMIN": "http://other"}, {"REPLAYPROXY_ADMIN": "http://127.0.0.1:2"}),
        ({"NO_PROXY": "internal"}, {"NO_PROXY": "internal,127.0.0.1,localhost"}),
    ],
)
def test_the_command_gets_the_addresses_and_a_key(environment: dict[str, str], expected: dict[str, str]) -> None:
    """Beside everything else that it would have; an empty key is one that CI may not give to a fork."""
    before = dict(environment)
    variables = child_variables(environment, "http://127.0.0.1:1", "http://127.0.0.1:2")
    assert {name: variables[name] for name in expected} == expected
    assert environment == before
    assert "REPLAYPROXY_ADMIN" not in child_variables({}, "http://127.0.0.1:1", None)


def test_a_signal_while_it_waits_for_its_upstream_ends_it(tmp_path: Path) -> None:
    """The command is not started, and nothing is written; afterwards this process has its signals again."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        upstream = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        settings = Settings(Mode.AUTO, (tmp_path / "new.cassette",), upstream, listen=LISTEN)
        with CommandRun(settings, ("touch", str(tmp_path / "started")), 60) as run:
            # To the thread that waits for signals: other threads of a worker of xdist would be ended by it.
            (receiver,) = (thread for thread in threading.enumerate() if thread.name == "replayproxy-signals")
            assert receiver.ident is not None
            signal.pthread_kill(receiver.ident, signal.SIGTERM)
            server, result = run.to_its_end()
    assert server is None
    assert (result.code, result.trouble) == (143, "stopped by signal 15 before `touch` was started")
    assert list(tmp_path.iterdir()) == []
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
