"""Choose where a request is prepared, so that no stream is late because of it.

Short ones in the event loop, longer ones in a thread, those that would hold the interpreter's lock in another process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from replayproxy.core.coding import body_of, is_coded
from replayproxy.core.identity.rules import Matcher
from replayproxy.core.preparing import is_heavy, keep_prepared, prepare
from replayproxy.model import Request
from replayproxy.ports import Worker

T = TypeVar("T")


class InThread:
    """A `Worker` that uses threads of this process."""

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Call it in a thread."""
        return await asyncio.to_thread(work, *arguments)


def is_prepared(matcher: Matcher, request: Request) -> bool:
    """Return whether the request is short, or was prepared before."""
    return not matcher.takes_long(request) or (request.prepared is not None and request.prepared[0] is matcher)


async def prepared(matcher: Matcher, worker: Worker, request: Request) -> None:
    """Prepare a long request once, and attach the result to it. Does nothing for a short one."""
    if is_prepared(matcher, request):
        return
    read = await asyncio.to_thread(body_of, request) if is_coded(request.headers) else request.body
    run = worker.run if is_heavy(request.body) or is_heavy(read) else asyncio.to_thread
    keep_prepared(matcher, request, *await run(prepare, matcher, request))
