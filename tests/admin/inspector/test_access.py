"""Who may look, as one table; and what every answer says to browsers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replayproxy.admin.inspector.access import HEADERS, Access, Visit

TOKEN = "0123456789abcdef-token"
FREE = Access(frozenset({"localhost"}))
GUARDED = Access(frozenset({"localhost"}), TOKEN)
HERE = Visit("GET", "localhost:8082")

VISITS = [
    (FREE, HERE, None),
    (FREE, replace(HERE, host="127.0.0.1:8082"), None),
    (FREE, replace(HERE, method="HEAD"), None),
    (FREE, replace(HERE, host="evil.example:8082"), 403),  # rebound
    (FREE, replace(HERE, origin="http://localhost:8082"), None),
    (FREE, replace(HERE, origin="http://evil.example"), 403),
    (FREE, replace(HERE, origin="http://localhost:9"), 403),
    (FREE, replace(HERE, origin="null"), 403),
    (FREE, replace(HERE, site="same-origin", mode="cors"), None),
    (FREE, replace(HERE, site="none", mode="navigate"), None),
    (FREE, replace(HERE, site="cross-site", mode="navigate"), None),  # a link in a chat leads here
    (FREE, replace(HERE, site="cross-site", mode="no-cors"), 403),  # an image, a script
    (FREE, replace(HERE, site="same-site", mode="cors"), 403),  # another port of this host
    (FREE, replace(HERE, method="POST"), 405),
    (FREE, replace(HERE, method="DELETE"), 405),
    (GUARDED, HERE, 401),
    (GUARDED, replace(HERE, token="wrong"), 401),
    (GUARDED, replace(HERE, token=TOKEN[:-1]), 401),
    (GUARDED, replace(HERE, token="ü"), 401),
    (GUARDED, replace(HERE, token=TOKEN), None),
    (GUARDED, replace(HERE, cookie=TOKEN), None),
    (GUARDED, replace(HERE, token="wrong", cookie=TOKEN), None),
    (GUARDED, replace(HERE, token=TOKEN, host="evil.example"), 403),
    (Access(frozenset(), None, "closed here"), replace(HERE, host="10.0.0.7"), 403),
]


@pytest.mark.parametrize(("access", "visit", "status"), VISITS)
def test_who_may_look(access: Access, visit: Visit, status: int | None) -> None:
    """Hosts, origins, sites, methods, tokens."""
    refusal = access.refusal(visit)
    assert (None if refusal is None else refusal.status) == status


def test_each_token_has_its_own_cookie() -> None:
    """A browser sends the cookies of a host to every port: two inspectors must not log each other out."""
    assert GUARDED.cookie != replace(GUARDED, token="another-token-of-mine").cookie
    assert TOKEN not in GUARDED.cookie


def test_nothing_inline_and_nothing_from_elsewhere() -> None:
    """The policy names no host, no `unsafe-`, and no frame."""
    policy = dict(part.strip().split(" ", 1) for part in HEADERS["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert set(policy.values()) == {"'none'", "'self'"}
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert HEADERS["X-Content-Type-Options"] == "nosniff"
    assert HEADERS["Cache-Control"] == "no-store"
