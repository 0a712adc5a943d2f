"""Log of requests and their outcomes, one entry per request, for a test that looks at them afterwards.

Does not hold answers. A proxy has no log unless it is given one. Bounded in bytes: the oldest calls are dropped first,
with one warning.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Container
from dataclasses import dataclass

from replayproxy.model import RecordingRef, Request

log = logging.getLogger("replayproxy")

MAX_BYTES = 64 * 1024 * 1024
"""Maximum bytes of the logged requests with their bodies."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `outcome` is that of `Counters.requests`; `place` is set for a replay, `miss` names a miss."""

    request: Request
    scope: str
    outcome: str
    place: RecordingRef | None = None
    miss: str | None = None


class RequestLog:
    """The calls, in the order in which they were decided."""

    def __init__(self, limit: int = MAX_BYTES) -> None:
        self._limit = limit
        self._calls: deque[Call] = deque()
        self.bytes = 0
        self.forgotten = 0
        """How many calls were dropped."""

    @property
    def calls(self) -> list[Call]:
        """The calls that are still in the log."""
        return list(self._calls)

    def add(self, call: Call) -> None:
        """Add a call. Drops the oldest ones above the limit."""
        self._calls.append(call)
        self.bytes += _weight(call)
        while self.bytes > self._limit and len(self._calls) > 1:
            self.bytes -= _weight(self._calls.popleft())
            self.forgotten += 1
            if self.forgotten == 1:
                log.warning(
                    "the log of requests holds %d MiB: the oldest requests are dropped from here on",
                    self._limit >> 20,
                )

    def of(self, scopes: Container[str]) -> list[Call]:
        """The calls of these scopes."""
        return [call for call in self._calls if call.scope in scopes]

    def forget(self, scopes: Container[str]) -> None:
        """Drop the calls of these scopes."""
        self._calls = deque(call for call in self._calls if call.scope not in scopes)
        self.bytes = sum(map(_weight, self._calls))


def _weight(call: Call) -> int:
    """About how many bytes of memory a call takes."""
    request = call.request
    fields = sum(200 + len(name) + len(value) for name, value in request.headers)
    return 500 + len(request.target) + len(request.body) + fields + len(call.scope)
