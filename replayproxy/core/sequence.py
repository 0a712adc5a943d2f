"""Which of several equal recordings is next.

Equal requests form an ordered list; every scope walks each list by itself, so parallel tests do not disturb one another
and n equal requests in flight get the n recordings, each once.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import StrEnum
from urllib.parse import unquote

from replayproxy.core import headers
from replayproxy.errors import ClientError
from replayproxy.model import Key, Request

SCOPE_HEADER = "x-replayproxy-scope"

LONGEST_SCOPE = 256
"""Bytes in UTF-8."""

MAX_BYTES = 64 * 1024 * 1024
"""Bytes of all positions. Above it, the positions of the least recently used scope are dropped."""

MAX_FORGOTTEN = 100_000
"""Scopes whose positions were dropped, 60 bytes each. When there are so many, no new scope gets a recording."""

MAX_MISSED = 20_000
"""Keys without recordings whose requests are counted, in 4 MB. The count is only reported."""

_SCOPE_BYTES, _POSITION_BYTES = 500, 250


class AtEnd(StrEnum):
    """What a scope gets after the last recording of a list."""

    CYCLE = "cycle"
    LAST = "last"
    REFUSE = "refuse"


def split_scope(request: Request) -> tuple[str, Request]:
    """Return the scope that a request names, and the request without it.

    A scope is given as `/t/<scope>/v1/…`, which works from any language, or as the header `X-Replayproxy-Scope`.
    Raises `ClientError` for a scope that is too long to be stored.
    """
    method, target, fields, body = request.method, request.target, request.headers, request.body
    scope = headers.get(fields, SCOPE_HEADER)
    if scope is not None:
        fields = headers.without(fields, SCOPE_HEADER)
    if target.startswith("/t/"):
        name, slash, rest = target[3:].partition("/")
        if name and slash:
            scope, target = unquote(name), "/" + rest
    if scope is None:
        return "", request
    if len(scope) > LONGEST_SCOPE or len(scope.encode("utf-8", "surrogatepass")) > LONGEST_SCOPE:
        raise ClientError(
            f"the scope of this request has more than {LONGEST_SCOPE} bytes: name it shorter, for example by a digest",
            code="scope_too_long",
        )
    return scope, Request(method, target, fields, body)


class Playhead:
    """The position of each scope in each list of equal recordings.

    Bounded in bytes (MAX_BYTES). A scope whose position was dropped would begin again from the first recording, so it
    gets nothing until it is reset. `records`: missing answers are recorded, so requests for them move the position too.
    """

    def __init__(self, at_end: AtEnd, *, records: bool = False, limit: int = MAX_BYTES) -> None:
        self.at_end = at_end
        self._records = records
        self._limit = limit
        self._positions: OrderedDict[str, dict[Key, int]] = OrderedDict()
        """By scope, the least recently used first."""
        self._missed: OrderedDict[tuple[str, Key], int] = OrderedDict()
        self._forgotten: set[int] = set()
        self.bytes = 0

    def next(self, scope: str, key: Key, count: int) -> int | None:
        """Return the occurrence to play now out of `count`, or None. The position moves on either way.

        It also moves if there is no recording. So a first `auto` run records the second equal request, instead of
        playing what it has just recorded for the first.
        """
        if count == 0 and not self._records:
            self._missed[scope, key] = self._missed.get((scope, key), 0) + 1
            if len(self._missed) > MAX_MISSED:
                self._missed.popitem(last=False)
            return None
        position = self._move_on(scope, key)
        if position < count:
            return position
        if count == 0 or self.at_end is AtEnd.REFUSE:
            return None
        return position % count if self.at_end is AtEnd.CYCLE else count - 1

    def _move_on(self, scope: str, key: Key) -> int:
        positions = self._positions.get(scope)
        if positions is None:
            positions = self._positions[scope] = {}
            self.bytes += _SCOPE_BYTES
        self._positions.move_to_end(scope)
        position = positions.get(key)
        positions[key] = (position or 0) + 1
        if position is None:
            self.bytes += _POSITION_BYTES
            self._make_room()
        return position or 0

    def undo(self, scope: str, key: Key) -> None:
        """Take back the last `next` of this scope: it was answered without a recording, and none will be made."""
        positions = self._positions.get(scope, {})
        if (position := positions.get(key)) is not None:
            positions[key] = position - 1
            if position == 1:
                del positions[key]
                self.bytes -= _POSITION_BYTES

    def _make_room(self) -> None:
        # A scope alone may be larger: it has no more positions than there are recordings.
        while self.bytes > self._limit and len(self._positions) > 1 and len(self._forgotten) < MAX_FORGOTTEN:
            scope, positions = self._positions.popitem(last=False)
            self.bytes -= _SCOPE_BYTES + _POSITION_BYTES * len(positions)
            self._forgotten.add(hash(scope))

    def has_forgotten(self, scope: str) -> bool:
        """Return whether the position of this scope was dropped, so that nothing can be played in it."""
        if not self._forgotten or scope in self._positions:
            return False
        return hash(scope) in self._forgotten or len(self._forgotten) >= MAX_FORGOTTEN

    def request_count(self, scope: str, key: Key) -> int:
        """Return how many requests with this key this scope has sent."""
        return self._positions.get(scope, {}).get(key, 0) or self._missed.get((scope, key), 0)

    def reset(self, scope: str | None = None) -> None:
        """Go back to the first recordings, in one scope or in all."""
        if scope is None:
            self._positions.clear()
            self._missed.clear()
            self._forgotten.clear()
            self.bytes = 0
            return
        if (positions := self._positions.pop(scope, None)) is not None:
            self.bytes -= _SCOPE_BYTES + _POSITION_BYTES * len(positions)
        self._forgotten.discard(hash(scope))
        for place in [place for place in self._missed if place[0] == scope]:
            del self._missed[place]
