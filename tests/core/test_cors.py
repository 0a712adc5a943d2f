"""Who may read an answer of ours in a browser."""

from __future__ import annotations

import pytest

from replayproxy.core.cors import AllowedOrigins, is_preflight
from replayproxy.errors import SettingsError
from replayproxy.model import Headers, Request

PAGE = "http://localhost:3000"
STARLETTE: Headers = (
    ("content-type", "application/json"),
    ("access-control-allow-origin", PAGE),
    ("access-control-allow-credentials", "true"),
    ("access-control-expose-headers", "X-Request-Id"),
)


def preflight(*more: tuple[str, str], method: str = "OPTIONS") -> Request:
    """What a browser sends before a POST with JSON."""
    return Request(method, "/v1/chat/completions", (("Origin", PAGE), ("Access-Control-Request-Method", "POST"), *more))


def test_what_a_preflight_is() -> None:
    """OPTIONS with both fields, whatever their case; all else is an ordinary request."""
    assert is_preflight(preflight())
    assert not is_preflight(preflight(method="POST"))
    assert not is_preflight(Request("OPTIONS", "/", (("Origin", PAGE),)))
    assert not is_preflight(Request("OPTIONS", "/", (("Access-Control-Request-Method", "POST"),)))


def test_the_recorded_fields_are_carried_for_their_origin_alone() -> None:
    """With what depends on the origin named for caches."""
    origins = AllowedOrigins().having([(), STARLETTE])
    assert origins.fields(PAGE) == (*STARLETTE[1:], ("Vary", "Origin"))
    assert origins.fields("http://evil.example") == ()
    assert origins.fields(None) == ()


def test_a_recorded_star_is_for_everybody() -> None:
    """And does not depend on the origin."""
    origins = AllowedOrigins().having([(("Access-Control-Allow-Origin", "*"), ("Server", "x"))])
    assert origins.fields("http://evil.example") == (("Access-Control-Allow-Origin", "*"),)


def test_what_the_option_says_counts_first() -> None:
    """An origin, or all of them; answers that say it themselves stay as they are."""
    origins = AllowedOrigins.of([PAGE])
    assert dict(origins.fields(PAGE))["Access-Control-Allow-Origin"] == PAGE
    assert origins.fields("http://evil.example") == ()
    assert origins.added_to(STARLETTE, PAGE) == STARLETTE
    assert ("Vary", "Origin") in origins.added_to((), PAGE)
    assert AllowedOrigins().added_to((), PAGE) == ()
    assert dict(AllowedOrigins.of(["*"]).fields("null"))["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("origin", ["localhost:3000", "http://localhost:3000/", "https://a b", "", "a\r\nX: y"])
def test_what_is_not_an_origin_is_refused(origin: str) -> None:
    """With the flag and an example."""
    with pytest.raises(SettingsError, match="--cors"):
        AllowedOrigins.of([origin])


def test_a_preflight_is_answered_with_what_it_asks_for() -> None:
    """Method, fields, and a private network (a page of the internet that talks to this machine)."""
    request = preflight(
        ("Access-Control-Request-Headers", "authorization, content-type"),
        ("Access-Control-Request-Private-Network", "true"),
    )
    answered = dict(AllowedOrigins().having([STARLETTE]).preflight(request))
    assert answered["access-control-allow-origin"] == PAGE
    assert answered["access-control-allow-credentials"] == "true"
    assert answered["Access-Control-Allow-Methods"] == "POST"
    assert answered["Access-Control-Allow-Headers"] == "authorization, content-type"
    assert answered["Access-Control-Allow-Private-Network"] == "true"
    assert dict(AllowedOrigins().preflight(preflight()))["Access-Control-Allow-Origin"] == PAGE
