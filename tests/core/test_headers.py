"""Which field lines pass, and which are stored."""

from __future__ import annotations

import pytest

from replayproxy.core import headers
from replayproxy.core.headers import STORED
from replayproxy.errors import SettingsError
from replayproxy.model import Exchange, Headers, Leg, Request, Response, Timeline

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
    """Of requests an allow-list is stored; of answers, what no name calls a credential."""
    assert headers.STORED.of_request(((name, "hush"),)) == ()
    assert headers.STORED.of_answer(((name, "hush"),)) == ()


def test_what_a_request_keeps() -> None:
    """What tells how to read the body, and who asked with which program."""
    lines: Headers = (("Content-Type", "application/json"), ("USER-AGENT", "x"), ("Host", "secret.internal"))
    assert headers.STORED.of_request(lines) == lines[:2]


def test_what_an_answer_keeps() -> None:
    """Every end-to-end field that a client may look at, in its order and case; repeated ones and empty ones too."""
    lines: Headers = (
        ("Content-Type", "text/event-stream"),
        ("X-RateLimit-Remaining-Tokens", "9"),
        ("anthropic-ratelimit-requests-limit", "9"),
        ("Access-Control-Allow-Origin", "*"),
        ("Retry-After", "2"),
        ("x-ratelimit-", ""),
        ("WWW-Authenticate", 'Bearer realm="x", error="invalid_token"'),
        ("WWW-Authenticate", "Basic"),
        ("Link", "</v1/next>; rel=next"),
        ("Link", "</v1/last>; rel=last"),
        ("Mcp-Session-Id", "0b1c"),
        ("Operation-Location", "/v1/operations/7"),
        ("x-inference-pod", "gpu7"),
        ("X-Prompt-Token-Count", "12"),
        ("x-prompt-tokens", "12"),
        ("Surrogate-Key", "a b"),
        ("Proxy-Status", "r34; error=http_request_error"),
        ("X-Empty", ""),
        ("X-Author", "x"),
    )
    assert headers.STORED.of_answer(lines) == lines
    assert headers.STORED.left_out(lines) == ()


HANDED_OUT = (
    *("Set-Cookie", "set-cookie2", "Authentication-Info", "Proxy-Authentication-Info", "X-Csrf-Token", "X-XSRF-TOKEN"),
    *("X-Amz-Security-Token", "Ocp-Apim-Subscription-Key", "x-vault-token", "AccessToken", "refresh_token_v2"),
    *(
        "X-Client-Secret",
        "X-Password",
        "X-Session-Id",
        "X-Auth",
        "secret-key",
        "X-AccessKey",
        "X-JWT",
        "Date",
        "Alt-Svc",
    ),
)


@pytest.mark.parametrize("name", HANDED_OUT)
def test_what_an_answer_hands_out_is_left_out_and_named(name: str) -> None:
    """What lets a later request in is not stored; `info` can tell which fields were left out."""
    lines: Headers = (("Via", "1.1 x"), (name, "hush"), (name.upper(), "again"))
    assert headers.STORED.of_answer(lines) == lines[:1]
    assert headers.STORED.left_out(lines) == (name.lower(),)


def test_users_keep_and_drop_fields() -> None:
    """Of requests and of answers, whatever the case; nothing hop-by-hop can be kept."""
    fields = headers.StoredFields.of(keep=["X-Tenant", "set-cookie"], drop=[" Server", "User-Agent"])
    lines: Headers = (("x-tenant", "a"), ("Set-Cookie", "s=1"), ("Server", "uvicorn"), ("User-Agent", "x"))
    assert fields.of_answer(lines) == lines[:2]
    assert fields.of_request(lines) == lines[:2]
    assert fields.left_out(lines) == ("server", "user-agent")


@pytest.mark.parametrize(
    ("keep", "drop"),
    [(["a b"], []), ([""], []), ([], ["x:"]), (["Server"], ["server"]), (["Connection"], []), ([], ["Content-Type"])],
)
def test_fields_that_make_no_sense_are_refused(keep: list[str], drop: list[str]) -> None:
    """At the start, with the flag and the name."""
    with pytest.raises(SettingsError, match=r"--(keep|drop)-header"):
        headers.StoredFields.of(keep, drop)


def test_nothing_hop_by_hop_is_stored() -> None:
    """What must not be passed on must not be replayed either."""
    lines = tuple((name, "x") for name in headers.HOP_BY_HOP)
    assert headers.STORED.of_answer(lines) == headers.STORED.of_request(lines) == ()
    assert headers.STORED.left_out(lines) == ()


def test_get_and_without() -> None:
    """The first of several lines counts; names compare without case."""
    lines: Headers = (("A", "1"), ("a", "2"), ("B", "3"))
    assert headers.get(lines, "a") == "1"
    assert headers.get(lines, "c") is None
    assert headers.without(lines, "a", "c") == (("B", "3"),)


@pytest.mark.parametrize(
    ("media", "stream"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream ; charset=utf-8", True),
        ("text/event-streams", False),
        ("application/json", False),
    ],
)
def test_what_is_an_event_stream(media: str, stream: bool) -> None:
    """By its media type, whatever its parameters and case."""
    assert headers.is_event_stream((("content-TYPE", media),)) is stream
    assert not headers.is_event_stream(())


def test_an_exchange_is_stored_with_the_fields_that_a_cassette_may_hold() -> None:
    """Of the request, the answer, and each leg; a field that the match rules compare is stored of all requests."""
    asked = Request("POST", "/", (("Accept", "*/*"), ("X-Tenant", "t"), ("Cookie", "c")))
    answered = Response(200, (("Date", "today"), ("Link", "l")), b"", (), Timeline(0, (), 0))
    exchange = Exchange(asked, answered, 0, (Leg("prefill", "http://p", asked, answered),))
    stored = STORED.of_exchange(exchange, {"x-tenant"})
    (leg,) = stored.legs
    for request, response in ((stored.request, stored.response), (leg.request, leg.response)):
        assert request.headers == (("Accept", "*/*"), ("X-Tenant", "t"))
        assert response.headers == (("Link", "l"),)
    assert STORED.of_exchange(exchange).request.headers == (("Accept", "*/*"),)
