"""How all tests run: hypothesis without a clock and without chance, so that red stays red; signals as in a shell; files
in memory.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import fuzz, processes

settings.register_profile(
    "replayproxy",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
    max_examples=fuzz.cases(40),
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


MEMORY = Path("/dev/shm")  # noqa: S108  pytest makes a folder of its own in it, as it does in /tmp
ROOM = 2**30
"""Bytes: the files of the tests that run at one time take less than a hundredth of it. Containers often have 64 MB."""


def _files_are_in_memory() -> None:
    """A thousand tests make a cassette, which waits for the disk five times: on a busy one that is most of their time.

    No test is about what a disk keeps when the power fails. `--basetemp` puts the files elsewhere, and so does
    PYTEST_DEBUG_TEMPROOT.
    """
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


_files_are_in_memory()


gc.disable()  # nothing of what is imported and collected is garbage


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was imported and collected stays to the end: the garbage collector need not look at it again and again.

    With ten thousand tests collected, one look at everything takes 0.3 s.
    """
    gc.collect()
    gc.freeze()
    gc.enable()


processes.FORKS = True


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes that are no text are named after their argument: gzip writes the time, and workers must agree on names."""
    if isinstance(val, bytes) and not val.decode("latin-1").isprintable():
        return argname
    return None
