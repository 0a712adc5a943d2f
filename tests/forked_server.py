"""Imports the package once, then forks a `replayproxy` for each call of `tests/forked.py`. A program of its own:

python -m tests.forked_server LISTENER          the number of an open Unix socket; ends when its stdin does

a call      the files that the child has as 0, 1 and 2; then {"arguments", "folder", "variables", "own_session"}
its answer  the child's pid, and when it has ended its exit code, each as 8 bytes
"""

from __future__ import annotations

import array
import faulthandler
import gc
import io
import json
import os
import pkgutil
import selectors
import shutil
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import replayproxy

LEFT_OUT = (
    "replayproxy.__main__",
    "replayproxy.vllm_plugin",
    "replayproxy.pytest_plugin",
    "replayproxy.sqlite_plugins",
)
"""The first runs the program; the others are parts of other programs."""

NUMBER = "q"
"""8 bytes with a sign."""


def load() -> None:
    """Import everything that a verb may import."""
    for module in pkgutil.walk_packages(replayproxy.__path__, "replayproxy."):
        if not module.name.startswith(LEFT_OUT):
            import_module(module.name)


def serve(listener: socket.socket) -> None:
    """Fork one process per call until stdin ends."""
    awake, woken = socket.socketpair()
    woken.setblocking(False)
    signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as waiting:
        for each in (listener, awake, 0):
            waiting.register(each, selectors.EVENT_READ)
        while True:
            for ready in (key.fileobj for key, _ in waiting.select()):
                if ready == 0:
                    return
                if ready is awake:
                    awake.recv(4096)
                    bury(children)
                else:
                    caller, _ = listener.accept()
                    call, streams = received(caller)
                    pid = os.fork()
                    if pid == 0:
                        live(call, streams)
                    for number in streams:
                        os.close(number)
                    children[pid] = caller
                    answer(caller, pid)


def bury(children: dict[int, socket.socket]) -> None:
    """Tell the callers of all that have ended."""
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with children.pop(pid) as caller:
            answer(caller, os.waitstatus_to_exitcode(status))


def answer(caller: socket.socket, number: int) -> None:
    """One number. A caller that is gone needs none."""
    with suppress(OSError):
        caller.sendall(array.array(NUMBER, [number]).tobytes())


def received(caller: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A call and its files."""
    head, streams, _, _ = socket.recv_fds(caller, array.array(NUMBER).itemsize, 3)
    size = array.array(NUMBER, head)[0]
    text = b""
    while len(text) < size:
        text += caller.recv(size - len(text))
    call: dict[str, Any] = json.loads(text)
    return call, streams


def live(call: dict[str, Any], streams: list[int]) -> None:
    """The whole life of a child: as `python -m replayproxy` from the moment when all is imported."""
    code: object = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if call["own_session"]:
            os.setsid()
        for number, given in enumerate(streams):
            os.dup2(given, number)
        os.closerange(3, 256)  # the server's sockets, and the streams as they came
        install_streams()
        os.chdir(call["folder"])
        os.environ.clear()
        os.environ.update(call["variables"])
        if os.environ.get("PYTHONFAULTHANDLER"):
            faulthandler.enable(2)
        sys.argv = ["replayproxy", *call["arguments"]]
        import_module("replayproxy.cli.main").main()
        code = 0
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001  as the interpreter does
        sys.excepthook(*sys.exc_info())
    finally:
        if isinstance(code, str):
            print(code, file=sys.stderr)  # noqa: T201  as the interpreter does
        import_module("threading")._shutdown()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code if isinstance(code, int) else code is not None)


def install_streams() -> None:
    """Python's streams over 0, 1 and 2, as they are at a start."""
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8")
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "utf-8", line_buffering=os.isatty(1)
    )
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(2, "w", closefd=False)), "utf-8", "backslashreplace", line_buffering=True
    )
    vars(sys).update(__stdin__=sys.stdin, __stdout__=sys.stdout, __stderr__=sys.stderr)


if __name__ == "__main__":
    load()
    gc.freeze()  # so that no child copies the memory of what is never collected
    with socket.socket(fileno=int(sys.argv[1])) as opened:
        try:
            serve(opened)
        finally:
            shutil.rmtree(Path(opened.getsockname()).parent, ignore_errors=True)
