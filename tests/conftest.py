"""How all tests run: hypothesis without a clock and without chance, so that red stays red; signals as in a shell."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "replayproxy", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("replayproxy")


def _signals_as_in_a_shell() -> None:
    """A CI runner, nohup and a shell's `&` start us with signals ignored or blocked, and every process inherits that.

    A handler is not inherited (execve resets it), while an ignored signal stays ignored: so processes of the tests
    start with the default, and what was to be kept from this run still is.
    """
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    for number in numbers:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.fixture(autouse=True)
def _signals() -> None:
    """A verb that a test before has run in this process left signals ignored or blocked, as it may before it ends."""
    _signals_as_in_a_shell()


def _bytecode_is_kept() -> None:
    """Images for containers set PYTHONDONTWRITEBYTECODE: then each process that a test starts compiles 130 files."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


_bytecode_is_kept()


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes that are no text are named after their argument: gzip writes the time, and workers must agree on names."""
    if isinstance(val, bytes) and not val.decode("latin-1").isprintable():
        return argname
    return None
