"""Who may look: rules for host names, other sites and the token; and the headers that every answer carries.

Recordings hold whole conversations. On loopback no token is needed, but a page of another site that is open in the same
browser must not reach them: its requests have a foreign `Host`, `Origin` or `Sec-Fetch-Site`.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from replayproxy.admin.hosts import is_foreign, is_welcome

HEADERS: Mapping[str, str] = {
    # Scripts and styles are files of ours; nothing is inline, nothing is loaded from elsewhere, nobody may frame it.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}

LENGTH = 16
"""Least characters of a token."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What a request says of itself. `token` and `cookie` are what it presents."""

    method: str
    host: str
    origin: str | None = None
    site: str | None = None
    """`Sec-Fetch-Site`"""
    mode: str | None = None
    """`Sec-Fetch-Mode`"""
    token: str | None = None
    cookie: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered."""

    status: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Access:
    """Who may look. `hosts`: names that `Host` may have besides addresses; `token`: None where none is needed.

    `closed`: why nobody may look; empty where it is open.
    """

    hosts: frozenset[str]
    token: str | None = None
    closed: str = ""

    @property
    def cookie(self) -> str:
        """The name of the cookie. It depends on the token, because a browser sends cookies to every port of a host."""
        return f"replayproxy-{sha256((self.token or '').encode()).hexdigest()[:12]}"

    def refusal(self, visit: Visit) -> Refusal | None:
        """Why a request is refused, or None. Secrets are compared in constant time."""
        if not is_welcome(visit.host, self.hosts):
            return Refusal(
                403,
                "the inspector may not be called by the name in the Host field: use its address, or start it with"
                " --allowed-host NAME (a proxy: --admin-allowed-host NAME)",
            )
        if is_foreign(visit.origin, visit.host):
            return Refusal(403, "a page of another origin may not read recordings: open the inspector itself")
        if visit.site in ("cross-site", "same-site") and visit.mode != "navigate":
            return Refusal(403, "a page of another site may not load recordings: open the inspector itself")
        if visit.method not in ("GET", "HEAD"):
            return Refusal(405, "the inspector only shows: use GET")
        if self.closed:
            return Refusal(403, self.closed)
        if self.token is not None and not any(
            hmac.compare_digest(presented.encode(), self.token.encode())
            for presented in (visit.token, visit.cookie)
            if presented is not None
        ):
            return Refusal(
                401,
                "a token is needed: open the URL that was printed at the start, which ends in ?token=…, or send"
                " Authorization: Bearer TOKEN",
            )
        return None
