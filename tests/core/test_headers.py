"""Which field lines pass, and which are stored."""

from __future__ import annotations

import pytest

from replayproxy.core import headers
from replayproxy.model import Headers

SECRETS = [
    "Authorization",
    "Cookie",
    "Set-Cookie",
    "X-Api-Key",
    "Api-Key",
    "X-Goog-Api-Key",
    "Proxy-Authorization",
    "X-New-Vendor-Token",
]


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "KEEP-ALIVE",
        "Proxy-Connection",
        "proxy-authenticate",
        "Proxy-Authorization",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
    ],
)
def test_hop_by_hop_fields_stop_here(name: str) -> None:
    """They belong to one connection (RFC 9110 §7.6.1), in whatever case."""
    assert headers.end_to_end(((name, "x"), ("Accept", "*/*"))) == (("Accept", "*/*"),)


@pytest.mark.parametrize(
    "connection",
    [
        (("Connection", "X-Trace"),),
        (("connection", "close, x-trace"),),
        (("Connection", "close"), ("Connection", " X-TRACE ")),
    ],
)
def test_what_connection_names_stops_here_too(connection: Headers) -> None:
    """Also where several `Connection` lines name several fields."""
    assert headers.end_to_end((*connection, ("X-Trace", "1"), ("X-Other", "2"))) == (("X-Other", "2"),)


def test_end_to_end_fields_pass_unchanged() -> None:
    """Order, case and number of the field lines survive, secrets included: the server must get them."""
    lines: Headers = (("Authorization", "Bearer x"), ("X-A", "1"), ("x-a", "2"), ("Content-Length", "3"))
    assert headers.end_to_end(lines) == lines


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_never_stored(name: str) -> None:
    """What is stored is an allow-list: a vendor's new secret is not on it."""
    assert headers.stored_of_request(((name, "hush"),)) == ()
    assert headers.stored_of_answer(((name, "hush"),)) == ()


def test_what_a_request_keeps() -> None:
    """What tells how to read the body, and who asked with which program."""
    lines: Headers = (("Content-Type", "application/json"), ("USER-AGENT", "x"), ("Host", "secret.internal"))
    assert headers.stored_of_request(lines) == lines[:2]


def test_what_an_answer_keeps() -> None:
    """What a client may look at: type, coding, request id, rate limits, retry hints; by name or by family."""
    lines: Headers = (
        ("Content-Type", "text/event-stream"),
        ("X-RateLimit-Remaining-Tokens", "9"),
        ("anthropic-ratelimit-requests-limit", "9"),
        ("Access-Control-Allow-Origin", "*"),
        ("Retry-After", "2"),
        ("x-ratelimit-", ""),
    )
    assert headers.stored_of_answer((*lines, ("X-Internal-Node", "gpu7"))) == lines


def test_nothing_hop_by_hop_is_stored() -> None:
    """What must not be passed on must not be replayed either."""
    assert not headers.HOP_BY_HOP & (headers.STORED_OF_ANSWERS | headers.STORED_OF_REQUESTS)


def test_get_and_without() -> None:
    """The first of several lines counts; names compare without case."""
    lines: Headers = (("A", "1"), ("a", "2"), ("B", "3"))
    assert headers.get(lines, "a") == "1"
    assert headers.get(lines, "c") is None
    assert headers.without(lines, "a", "c") == (("B", "3"),)
