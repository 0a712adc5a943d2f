"""Install, start, watch and end a real vLLM, through the scripts that users get in `examples/real-vllm/`.

Knows vLLM's `/health` and two of its metrics; nothing of what it is asked.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Self

from tests import wire

EXAMPLE = Path(__file__).parents[2] / "examples" / "real-vllm"

START_PATIENCE = 300.0
"""Seconds until /health: 30 to 50 on two quiet cores."""

END_PATIENCE = 15.0
"""Seconds between SIGINT and SIGKILL."""

PATIENCE = 30.0
"""Seconds for vLLM to become as busy, or as idle, as a test made it."""

LAST_WORDS = 4000


def install() -> None:
    """What a user does first. Its progress goes to the terminal even where pytest captures: it may take minutes."""
    said = []
    command = [EXAMPLE / "install"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as installing:
        assert installing.stdout is not None
        for line in installing.stdout:
            said.append(line)
            print(f"install: {line}", end="", file=sys.__stderr__, flush=True)
    assert installing.returncode == 0, "examples/real-vllm/install failed:\n" + "".join(said)[-LAST_WORDS:]


def _let_others_go_first(leader: int) -> None:
    """NIXL's progress thread asks its sockets without a pause, and its yields count as sleep: on two cores, two idle
    servers left 5 % of a core to a new process. At nice 10 for their session it is 92 %, where Linux knows sessions."""
    with suppress(OSError):
        Path(f"/proc/{leader}/autogroup").write_text("10")


class RealVllm:
    """A running vLLM with the model `tiny`."""

    model = "tiny"

    def __init__(self, url: str, process: subprocess.Popen[bytes] | None, log: Path | None) -> None:
        self.url = url
        self._process = process
        self._log = log

    @classmethod
    def at(cls, url: str) -> Self:
        """Somebody else's server, which is not ended."""
        return cls(url.rstrip("/"), None, None)

    @classmethod
    def start(
        cls, serve: Path, log: Path, more: tuple[str, ...] = (), variables: Mapping[str, str] = MappingProxyType({})
    ) -> Self:
        """Start one on a free port, with `more` arguments behind it, and wait until it is healthy.

        `variables` are added to its environment.

        Raises `AssertionError` with its last words.
        """
        with socket.socket() as chosen:
            chosen.bind(("127.0.0.1", 0))
            port = chosen.getsockname()[1]
        with log.open("wb") as words:
            process = subprocess.Popen(
                [serve, str(port), *more],
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=subprocess.STDOUT,
                env={**os.environ, **variables},
                start_new_session=True,  # so that its children can be ended with it
            )
        server = cls(f"http://127.0.0.1:{port}", process, log)
        _let_others_go_first(process.pid)
        try:
            server.wait_until_healthy()
        except BaseException:
            server.stop()
            raise
        return server

    @property
    def ours(self) -> bool:
        """Whether it was installed and started here."""
        return self._process is not None

    def wait_until_healthy(self) -> None:
        """Ask every quarter of a second: vLLM tells nobody when it is ready."""
        for _ in range(round(START_PATIENCE * 4)):
            with suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(f"{self.url}/health"):
                return
            if self._process is None:
                threading.Event().wait(0.25)
                continue
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.25)
                raise AssertionError(f"vLLM ended with code {self._process.returncode}:\n{self.last_words}")
        raise AssertionError(f"vLLM was not healthy within {START_PATIENCE:g} s:\n{self.last_words}")

    @property
    def words(self) -> str:
        """Its log."""
        return self._log.read_text(errors="replace") if self._log is not None else ""

    @property
    def last_words(self) -> str:
        """The end of its log."""
        return self.words[-LAST_WORDS:]

    def stop(self) -> None:
        """SIGINT, 15 s, then SIGKILL to its whole group; and see that nobody listens any more."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_PATIENCE)
        with suppress(ProcessLookupError):  # nobody of the group is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        port = int(self.url.rpartition(":")[2])
        for _ in range(100):  # the kernel takes a moment to let go of a killed process's sockets
            with socket.socket() as asking:
                if asking.connect_ex(("127.0.0.1", port)) != 0:
                    return
            threading.Event().wait(0.1)
        raise AssertionError("vLLM was ended, and somebody still listens")


_GAUGE = re.compile(rb"^vllm:num_requests_(running|waiting)\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)


class Watch:
    """vLLM's own word on how busy it is. Asked directly, each time over a new connection: vLLM closes an idle one."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def busy(self) -> tuple[int, int]:
        """Requests that it generates for, and requests that wait."""
        scraped = await wire.ask(self._url, wire.get("/metrics"))
        gauges = {name: int(float(value)) for name, value in _GAUGE.findall(scraped.body)}
        return gauges[b"running"], gauges[b"waiting"]

    async def until(self, running: int, waiting: int = 0) -> None:
        """Ask until it is so."""
        async with asyncio.timeout(PATIENCE):
            while await self.busy() != (running, waiting):
                pass
