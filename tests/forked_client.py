"""`replayproxy` for scripts: has the server of `tests/forked.py` fork it, and stands for it until it has ended.

    tests/forked_client.py SOCKET ARGUMENTS…

A program of its own that imports little: it is up in a tenth of the time. It passes on its folder, environment, streams
and signals, and ends with the exit code, or by the signal, of what was forked.
"""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import sys
from contextlib import suppress

NUMBER = "q"
"""As in `tests/forked_server.py`, which is not imported: it imports everything."""


def main() -> None:
    """Call, pass on signals, and end as what was called."""
    folder = os.getcwd()  # noqa: PTH109  pathlib takes half of the time
    call = {"arguments": sys.argv[2:], "folder": folder, "variables": dict(os.environ), "own_session": False}
    text = json.dumps(call).encode()
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(sys.argv[1])
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)  # until there is somebody to pass them on to
        socket.send_fds(server, [array.array(NUMBER, [len(text)]).tobytes()], [0, 1, 2])
        server.sendall(text)
        pid = received(server)

        def pass_on(number: int, _: object) -> None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

        for number in numbers:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, pass_on)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
        for stream in (0, 1, 2):  # whoever reads our stdout sees its end when the child's is closed
            os.close(stream)
        code = received(server)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def received(server: socket.socket) -> int:
    """One number."""
    answer = server.recv(array.array(NUMBER).itemsize)
    assert answer, "the server that forks has ended"
    return array.array(NUMBER, answer)[0]


if __name__ == "__main__":
    main()
