"""What a gateway made of one answer: the same answer as it was recorded before and behind it, byte by byte.

    before   |event 1|    |event 2|    |event 3|        recorded between the server and the gateway
    behind         |event 1 event 2|          |event 3|  recorded between the gateway and the client
                    ▲ event 1 was held back until event 2 was there

Times count on each side from its own request, so that added latency is that of both directions.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from replayproxy.core.headers import get, is_event_stream
from replayproxy.model import Response

TOGETHER = 2_000_000
"""Ns between two events below which a recorder may have read both at once: not the gateway has joined them then."""

CONTEXT = 32
"""Bytes that are shown on each side of a difference."""

_BLANK_LINE = re.compile(rb"\r\n\r\n|\r\n\n|\n\r\n|\n\n|\n\r|\r\r")


@dataclass(frozen=True, slots=True)
class WireDifference:
    """The first difference. `what` is `status`, `coding`, `bytes`, `length` or `ending`.

    `at` is the offset in the body; `before` and `behind` are what stands there, or the two values.
    """

    what: str
    at: int
    before: bytes
    behind: bytes


@dataclass(frozen=True, slots=True)
class WireComparison:
    """One answer on both sides. Times in ns."""

    difference: WireDifference | None
    events: int
    """Events of the answer before the gateway; chunks where it is no event stream."""
    held: int
    """Events that came together with a later one, though the server had sent them apart."""
    longest_hold: int
    """How long the one that waited longest lay in the gateway, beyond the least that it took for any."""
    added: tuple[int, ...]
    """By chunk before the gateway: how much later its last byte was received behind it."""


def compare_on_wire(before: Response, behind: Response) -> WireComparison:
    """Compare. Events and latency are of the bytes up to the first difference."""
    difference = _first_difference(before, behind)
    equal = len(before.body) if difference is None or difference.what in ("status", "ending") else difference.at
    sent, received = _Arrivals(before), _Arrivals(behind)
    chunks = [end for end in sent.ends if end <= equal]
    added = tuple(received.time(end) - sent.time(end) for end in chunks)
    events = _ends_of_events(before) if is_event_stream(before.headers) else sent.ends
    held, longest = _held_back([end for end in events if end <= equal], sent, received)
    least = min(added, default=0)
    return WireComparison(difference, len(events), held, max(0, longest - least) if held else 0, added)


class _Arrivals:
    """When each byte of an answer was received."""

    def __init__(self, response: Response) -> None:
        self.ends = list(accumulate(size for size in response.cuts if size))
        self._times = [at for size, at in zip(response.cuts, response.timeline.chunks, strict=True) if size]

    def chunk(self, end: int) -> int:
        """The number of the chunk that holds the last byte before this offset."""
        return bisect_left(self.ends, end)

    def time(self, end: int) -> int:
        """When that byte was received."""
        return self._times[self.chunk(end)]


def _ends_of_events(response: Response) -> list[int]:
    return [found.end() for found in _BLANK_LINE.finditer(response.body)]


def _held_back(events: Sequence[int], sent: _Arrivals, received: _Arrivals) -> tuple[int, int]:
    """How many were held back, and the largest added latency of one of them."""
    held = longest = 0
    for event, later in pairwise(events):
        apart = sent.time(later) - sent.time(event) >= TOGETHER
        if apart and received.chunk(event) == received.chunk(later):
            held += 1
            longest = max(longest, received.time(event) - sent.time(event))
    return held, longest


def _first_difference(before: Response, behind: Response) -> WireDifference | None:
    if before.status != behind.status:
        return WireDifference("status", 0, b"%d" % before.status, b"%d" % behind.status)
    codings = [(get(response.headers, "content-encoding") or "none").encode() for response in (before, behind)]
    if codings[0].lower() != codings[1].lower():
        return WireDifference("coding", 0, codings[0], codings[1])
    if before.body != behind.body:
        at = _common_prefix(before.body, behind.body)
        ends_early = at == min(len(before.body), len(behind.body))
        return WireDifference(
            "length" if ends_early else "bytes", at, before.body[at : at + CONTEXT], behind.body[at : at + CONTEXT]
        )
    if before.ending is not behind.ending:
        names = [response.ending.name.lower().encode() for response in (before, behind)]
        return WireDifference("ending", len(before.body), names[0], names[1])
    return None


def _common_prefix(first: bytes, second: bytes) -> int:
    """The number of bytes that are equal. Halves the range, because a comparison of slices runs in C."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
