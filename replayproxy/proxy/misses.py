"""Number the causes of misses, and make the answer that a client gets.

A miss is a 404 in OpenAI's error envelope with `x-should-retry: false`: the SDKs retry 408, 409, 429 and 5xx, and each
miss would count three times. Never an empty 200, never somebody else's answer.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import replace
from itertools import count

from replayproxy.core.dialects.facts import error_body
from replayproxy.model import Ending, Headers, Key, Request, Response, Timeline
from replayproxy.views.miss import UNPLAYABLE, Miss

MAX_BYTES = 4 * 1024 * 1024
"""Bytes of all causes with their explanations, about two thousand. Equal requests have one cause."""

LONGEST_TARGET = 1024
"""Characters of a target that are kept of it."""


class Misses:
    """Remembers misses by cause and numbers the causes.

    Bounded in bytes: the oldest cause is dropped first. Its misses still count, its explanation is lost.
    """

    def __init__(self, limit: int = MAX_BYTES) -> None:
        self._limit = limit
        self._numbers = count(1)
        self.causes: OrderedDict[tuple[str, Key], tuple[str, Miss, int]] = OrderedDict()
        self.forgotten: Counter[str] = Counter()
        """Misses of the causes that had to go, by their code."""
        self.bytes = 0

    def cached(self, code: str, key: Key) -> Miss | None:
        """Return the miss that was found for this cause before, if it is remembered."""
        found = self.causes.get((code, key))
        return None if found is None else found[1]

    def note(self, miss: Miss) -> str:
        """Count a miss. Returns the number of its cause, which the client gets too."""
        cause = (miss.code, miss.key)
        before = self.causes.get(cause)
        name, times = (f"m-{next(self._numbers):04}", 0) if before is None else (before[0], before[2])
        kept = _slim(miss)
        self.causes[cause] = (name, kept, times + 1)
        self.bytes += _weight(kept) - (0 if before is None else _weight(before[1]))
        while self.bytes > self._limit and len(self.causes) > 1:
            _, (_, oldest, missed) = self.causes.popitem(last=False)
            self.bytes -= _weight(oldest)
            self.forgotten[oldest.code] += missed
        return name

    def clear(self) -> None:
        """Forget all causes. Their numbers are not used again."""
        self.causes.clear()
        self.forgotten.clear()
        self.bytes = 0


def miss_response(miss: Miss, name: str) -> Response:
    """Return the answer to a client whose request has no recording; `name` is that of the cause."""
    return own_response(
        500 if miss.code == UNPLAYABLE else 404,
        error_body(f"replayproxy: {miss.sentence}", type="replay_miss", code=miss.code, param=miss.param),
        ("X-Replayproxy-Miss", name),
        ("X-Replayproxy-Error", miss.code),
        ("X-Should-Retry", "false"),
    )


def _slim(miss: Miss) -> Miss:
    """Return what its explanation needs: without bodies and field lines."""
    near = miss.nearest
    if near is not None:
        near = replace(near, neighbour=replace(near.neighbour, request=_named(near.neighbour.request)))
    return replace(miss, request=_named(miss.request), nearest=near)


def _named(request: Request) -> Request:
    target = request.target
    return Request(request.method[:32], target if len(target) <= LONGEST_TARGET else f"{target[:LONGEST_TARGET]}…")


def _weight(miss: Miss) -> int:
    """Return about how many bytes of memory a slim miss takes."""
    texts = [miss.request.target, miss.key, miss.scope, miss.damage, miss.not_carried]
    if miss.nearest is not None:
        texts += [miss.nearest.neighbour.cassette, miss.nearest.neighbour.request.target]
        for difference in miss.nearest.differences:
            texts += [difference.path, difference.recorded, difference.received]
    return 1000 + sum(60 + 2 * len(text) for text in texts)


def own_response(status: int, body: bytes, *more: tuple[str, str], media: str | None = "application/json") -> Response:
    """Return an answer of the proxy itself, in one chunk."""
    fields: Headers = (("Content-Length", str(len(body))), *more)
    if media is not None:
        fields = (("Content-Type", media), *fields)
    cuts = (len(body),) if body else ()
    return Response(status, fields, body, cuts, Timeline(0, (0,) * len(cuts), 0), Ending.COMPLETE)
