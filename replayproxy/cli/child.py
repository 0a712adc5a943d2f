"""Run a command and pass on the signals that are meant for it, each once.

The command stays in the process group of this process and shares its stdin, stdout and stderr. So it has the same
terminal, and the signals of the terminal (Ctrl-C, Ctrl-\\) reach it directly; only a signal that was sent to this
process alone is passed on. sigwaitinfo(2) tells who sent a signal, and needs the signals blocked. Therefore a thread
waits for them, and the command is started with the signal mask from before.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import cast

from replayproxy.lifetime import WITHOUT_MEANING, has_terminal
from replayproxy.proxy.verdict import CommandResult, visible_command

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)

ONLY_THE_COMMANDS = {*WITHOUT_MEANING, signal.SIGHUP}
"""Ignored while no command runs; SIGHUP is not, if a terminal has started this process."""

_FROM_THE_KERNEL = 0x80
"""SI_KERNEL of <asm-generic/siginfo.h>: a terminal sends to its whole foreground group."""


class Signals:
    """Receives the signals of this process. Create it before any other thread is started; `close` it in the thread
    that created it, or that thread never gets a signal again."""

    def __init__(self, unclaimed: Callable[[int], None]) -> None:
        """`unclaimed` is called, in another thread, with a signal that comes while no command runs."""
        # What was ignored when we were started (nohup, a shell's &) is ignored by the command too.
        self._passed_on = {number for number in PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN}
        self.mask_before = signal.pthread_sigmask(signal.SIG_BLOCK, self._passed_on)
        self._unclaimed = unclaimed
        self._meaningless = ONLY_THE_COMMANDS - ({signal.SIGHUP} if has_terminal() else set())
        self._closed = False
        self._first_signal: int | None = None
        self._pid: int | None = None
        self._lock = threading.Lock()
        self.claimed = False
        """Whether a command was started."""
        self._thread = threading.Thread(target=self._hear, name="replayproxy-signals", daemon=True)
        if self._passed_on:
            self._thread.start()

    def start(self, spawn: Callable[[], int]) -> int | None:
        """Start a process and pass signals on to it. Return None if a signal came first: it was not started."""
        with self._lock:
            if self._first_signal is not None:
                return None
            self._pid = spawn()
            self.claimed = True
            return self._pid

    def release(self) -> None:
        """Stop forwarding signals. Call this before waitpid(2), because the kernel may reuse the pid afterwards."""
        with self._lock:
            self._pid = None

    def close(self) -> None:
        """Receive no more signals, and restore the signal mask from before."""
        if self._closed:
            return
        with self._lock:
            self._closed = True
        if self._thread.is_alive():
            signal.pthread_kill(cast("int", self._thread.ident), min(self._passed_on))  # it waits for one
            self._thread.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask_before)

    def _hear(self) -> None:
        while True:
            number, has_group = _next(self._passed_on)
            with self._lock:
                if self._closed:
                    return
                if self._pid is None and number in self._meaningless:
                    continue
                if self._pid is None:
                    self._first_signal = number
                    self._unclaimed(number)
                elif not has_group:
                    with suppress(ProcessLookupError, PermissionError):
                        os.kill(self._pid, number)


def _next(numbers: set[signal.Signals]) -> tuple[int, bool]:
    """Return the next signal, and whether the whole process group got it."""
    if sys.platform != "linux":
        return signal.sigwait(numbers), False
    found = signal.sigwaitinfo(numbers)
    return found.si_signo, found.si_code == _FROM_THE_KERNEL


def run(command: tuple[str, ...], variables: Mapping[str, str], signals: Signals) -> CommandResult:
    """Start the command and wait until it has ended."""

    def spawn() -> int:
        # Python ignores these two; no command expects that.
        ours = [signal.SIGPIPE, signal.SIGXFSZ]
        return os.posix_spawnp(command[0], command, variables, setsigmask=signals.mask_before, setsigdef=ours)

    name = visible_command(command)
    try:
        pid = signals.start(spawn)
    except FileNotFoundError:
        return CommandResult(
            command, 127, trouble=f"`{command[0]}` is not there: install it, or give its path after --"
        )
    except OSError as error:
        why = f"`{name}` cannot be started: {error.strerror}; look at its rights and its first line"
        return CommandResult(command, 126, trouble=why)
    if pid is None:
        return CommandResult(command, 130, trouble=f"a signal came before `{name}` was started")
    if sys.platform == "linux":
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        signals.release()
    _, status = os.waitpid(pid, 0)
    signals.release()
    return _ended(command, os.waitstatus_to_exitcode(status))


def _ended(command: tuple[str, ...], code: int) -> CommandResult:
    """`code` is negative if a signal ended the command."""
    if code >= 0:
        return CommandResult(command, code)
    try:
        name = signal.Signals(-code).name
    except ValueError:  # a real-time signal between the named ones
        name = f"signal {-code}"
    return CommandResult(command, 128 - code, signal=name)
