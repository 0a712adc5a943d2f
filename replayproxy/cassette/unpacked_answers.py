"""Keep unpacked answers for the next request: the same recording is often played again, or to many clients at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from replayproxy.model import RecordingRef, Request, Response

if TYPE_CHECKING:  # imported where it is used: `ls` and its like need no loop (tests/cli/test_imports.py)
    import asyncio
    from concurrent.futures import Executor

MOST_BYTES = 64 * 1024 * 1024
"""Of unpacked answers that are kept."""


class UnpackedAnswers:
    """The answers of one cassette that were played last, at most `MOST_BYTES` of them."""

    def __init__(self) -> None:
        self._cached: OrderedDict[RecordingRef, Response] = OrderedDict()
        # However many clients are sent a long answer at the same time, it is unpacked once and held once: 200 clients
        # of an answer of 20 MB, which is too long to be cached, had 4 GB.
        self._played: WeakValueDictionary[RecordingRef, Response] = WeakValueDictionary()
        self._unpacking: dict[RecordingRef, asyncio.Future[tuple[Request, Response]]] = {}
        self.size = 0
        """Bytes that are kept."""

    def get(self, ref: RecordingRef) -> Response | None:
        """Return an answer that is cached, or that is being played."""
        cached = self._cached.get(ref)
        if cached is not None:
            self._cached.move_to_end(ref)
            return cached
        return self._played.get(ref)

    def add(self, ref: RecordingRef, response: Response) -> None:
        """Keep an answer; those that were played least recently make room for it."""
        self._played[ref] = response
        if len(response.body) > MOST_BYTES // 4 or ref in self._cached:
            return
        self._cached[ref] = response
        self.size += 2 * len(response.body)  # once more for its framed form
        while self.size > MOST_BYTES:
            _, forgotten = self._cached.popitem(last=False)
            self.size -= 2 * len(forgotten.body)

    def clear(self) -> None:
        """Forget all of them."""
        self._cached.clear()
        self._played.clear()
        self.size = 0

    async def unpack_aside(
        self, ref: RecordingRef, executor: Executor | None, unpack: Callable[[], tuple[Request, Response]]
    ) -> tuple[Request, Response]:
        """Unpack a long answer in a thread of `executor`; further requests for the same one wait for it."""
        import asyncio

        unpacking = self._unpacking.get(ref)
        if unpacking is None:
            unpacking = asyncio.get_running_loop().run_in_executor(executor, unpack)
            self._unpacking[ref] = unpacking

            def done(unpacked: asyncio.Future[tuple[Request, Response]]) -> None:
                del self._unpacking[ref]
                if not unpacked.cancelled():
                    unpacked.exception()  # its requests may have been cancelled

            unpacking.add_done_callback(done)
        return await asyncio.shield(unpacking)  # one that leaves does not end it for the others
