"""Cross-origin requests (Fetch standard, section 3.2): the field lines with which a page may read an answer of ours.

    preflight   OPTIONS, Origin, Access-Control-Request-Method ──▶ 204 with what may be sent
    any other   Origin                                          ──▶ the answer's fields say who may read it

Which origins may read is what the recorded server said, or `--cors`. Knows no recordings and no sockets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from replayproxy.core import headers
from replayproxy.errors import SettingsError, setting
from replayproxy.model import Headers, Request

ALLOW_ORIGIN = "access-control-allow-origin"
CARRIED = frozenset(
    {ALLOW_ORIGIN, "access-control-allow-credentials", "access-control-expose-headers", "timing-allow-origin"}
)
"""Fields of recorded answers that the answers of our own making carry too."""

MAX_AGE = "600"
"""Seconds that a browser may keep the answer to a preflight: Starlette's default, which is vLLM's."""

# RFC 6454 6.2, and `null` for pages without one.
_ORIGIN = re.compile(r"null|[a-z][a-z0-9+.-]*://[^\s/?#@,\"]+")


def origin_of(request: Request) -> str | None:
    """The page that asks, as the browser names it."""
    return headers.get(request.headers, "origin")


def is_preflight(request: Request) -> bool:
    """Whether a browser asks what a page may ask."""
    return request.method == "OPTIONS" and origin_of(request) is not None and requested_method(request) is not None


def requested_method(request: Request) -> str | None:
    """The method that the page wants to use."""
    return headers.get(request.headers, "access-control-request-method")


@dataclass(frozen=True, slots=True)
class AllowedOrigins:
    """Who may read. `given` are those of `--cors`, `recorded` field lines of recorded answers by their origin."""

    given: tuple[str, ...] = ()
    recorded: tuple[tuple[str, Headers], ...] = ()

    @classmethod
    def of(cls, given: Iterable[str]) -> Self:
        """From what `--cors` says. Raises `SettingsError` for what is not an origin."""
        origins = tuple(given)
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise SettingsError(
                    f"{setting('cors', repr(origin))} is not an origin: write http://localhost:3000, without"
                    " a path, or *"
                )
        return cls(origins)

    def having(self, answers: Iterable[Headers]) -> AllowedOrigins:
        """With what these recorded answers let read; of each origin the first one counts."""
        found = dict(self.recorded)
        for lines in answers:
            origin = headers.get(lines, ALLOW_ORIGIN)
            if origin:
                found.setdefault(origin, tuple(line for line in lines if line[0].lower() in CARRIED))
        return AllowedOrigins(self.given, tuple(found.items()))

    def fields(self, origin: str | None) -> Headers:
        """The field lines with which this origin may read an answer; none where it may not."""
        if origin is None:
            return ()
        if origin in self.given or "*" in self.given:
            allowed = "*" if "*" in self.given else origin
            return _varied((("Access-Control-Allow-Origin", allowed), ("Access-Control-Expose-Headers", "*")), allowed)
        for allowed in (origin, "*"):
            for recorded, lines in self.recorded:
                if recorded == allowed:
                    return _varied(lines, allowed)
        return ()

    def added_to(self, lines: Headers, origin: str | None) -> Headers:
        """Field lines of an answer, with those of `--cors` where they do not say who may read it."""
        if not self.given or headers.get(lines, ALLOW_ORIGIN) is not None:
            return lines
        return lines + self.fields(origin)

    def preflight(self, request: Request) -> Headers:
        """The field lines of the answer to a preflight for what has been recorded."""
        origin = origin_of(request)
        assert origin is not None, "a preflight has an Origin"
        lines = self.fields(origin) or _varied((("Access-Control-Allow-Origin", origin),), origin)
        lines = tuple(line for line in lines if line[0].lower() != "access-control-expose-headers")
        lines += (("Access-Control-Allow-Methods", requested_method(request) or ""),)
        requested = headers.get(request.headers, "access-control-request-headers")
        if requested:
            lines += (("Access-Control-Allow-Headers", requested),)
        if headers.get(request.headers, "access-control-request-private-network") == "true":
            lines += (("Access-Control-Allow-Private-Network", "true"),)
        return (*lines, ("Access-Control-Max-Age", MAX_AGE))


NO_ORIGINS = AllowedOrigins()
"""The default."""


def _varied(lines: Headers, allowed: str) -> Headers:
    """A cache must not give to one origin what was meant for another."""
    return lines if allowed == "*" else (*lines, ("Vary", "Origin"))
