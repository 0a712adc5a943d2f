"""What was asked, and what became of it, one entry a request, for those who want to look at it afterwards: a test.

Knows no answer's bytes; a proxy keeps no journal unless it is given one. Bounded in bytes: the oldest calls go first,
which is said once.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Container
from dataclasses import dataclass

from replayproxy.model import RecordingRef, Request

log = logging.getLogger("replayproxy")

MAX_BYTES = 64 * 1024 * 1024
"""Of the requests that are kept, with their bodies."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `outcome` is what the tally counts it as; `place` is set for a replay, `miss` names a miss."""

    request: Request
    scope: str
    outcome: str
    place: RecordingRef | None = None
    miss: str | None = None


class RequestLog:
    """All calls, in the order in which they were decided."""

    def __init__(self, limit: int = MAX_BYTES) -> None:
        self._limit = limit
        self._calls: deque[Call] = deque()
        self.bytes = 0
        self.forgotten = 0
        """Calls that had to go."""

    @property
    def calls(self) -> list[Call]:
        """Those that are kept."""
        return list(self._calls)

    def add(self, call: Call) -> None:
        """Keep one more."""
        self._calls.append(call)
        self.bytes += _weight(call)
        while self.bytes > self._limit and len(self._calls) > 1:
            self.bytes -= _weight(self._calls.popleft())
            self.forgotten += 1
            if self.forgotten == 1:
                log.warning("the log of requests holds %d MiB: from here on the oldest are left out", self._limit >> 20)

    def of(self, scopes: Container[str]) -> list[Call]:
        """The calls of these scopes."""
        return [call for call in self._calls if call.scope in scopes]

    def forget(self, scopes: Container[str]) -> None:
        """Keep the calls of other scopes only."""
        self._calls = deque(call for call in self._calls if call.scope not in scopes)
        self.bytes = sum(map(_weight, self._calls))


def _weight(call: Call) -> int:
    """About how many bytes of memory it takes."""
    request = call.request
    fields = sum(200 + len(name) + len(value) for name, value in request.headers)
    return 500 + len(request.target) + len(request.body) + fields + len(call.scope)
