"""Which of several equal recordings is next.

Equal requests form an ordered list; every scope walks each list by itself, so parallel tests do not disturb one another
and n equal requests in flight get the n recordings, each once.
"""

from __future__ import annotations

from enum import StrEnum
from urllib.parse import unquote

from replayproxy.core import headers
from replayproxy.model import Key, Request

SCOPE_HEADER = "x-replayproxy-scope"


class AtEnd(StrEnum):
    """What follows the last recording of a list."""

    CYCLE = "cycle"
    LAST = "last"
    REFUSE = "refuse"


def split_scope(request: Request) -> tuple[str, Request]:
    """The scope a request names, and the request without it.

    `/t/<scope>/v1/…` works from any language; the header `X-Replayproxy-Scope` is for those who can set one.
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
    return scope, Request(method, target, fields, body)


class Playhead:
    """Where each scope is in each list."""

    def __init__(self, at_end: AtEnd) -> None:
        self.at_end = at_end
        self._asked: dict[tuple[str, Key], int] = {}

    def next(self, scope: str, key: Key, count: int) -> int | None:
        """The occurrence to play now out of `count`, or None. Moves on either way.

        Moving on also where there is nothing makes a first `auto` run record the second equal request instead of
        playing what it recorded a moment ago.
        """
        position = self._asked.get((scope, key), 0)
        self._asked[scope, key] = position + 1
        if position < count:
            return position
        if count == 0 or self.at_end is AtEnd.REFUSE:
            return None
        return position % count if self.at_end is AtEnd.CYCLE else count - 1

    def asked(self, scope: str, key: Key) -> int:
        """How often this scope has asked for this list."""
        return self._asked.get((scope, key), 0)

    def reset(self, scope: str | None = None) -> None:
        """Back to the start: one scope, or all."""
        if scope is None:
            self._asked.clear()
        else:
            self._asked = {place: asked for place, asked in self._asked.items() if place[0] != scope}
