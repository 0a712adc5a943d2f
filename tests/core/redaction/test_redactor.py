"""Requests lose their secrets, and nothing else; what is stored has the key of what was asked."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.core import headers
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.redaction import Redactor
from replayproxy.core.redaction.credentials import Credentials
from replayproxy.errors import SettingsError
from replayproxy.model import Headers, Request

SALT = b"0123456789abcdef"
KEY = "s3cret-k3y-0123/45+6="
SHAPE = "sk-proj-" + "aB3" * 12
JSON: Headers = (("Content-Type", "application/json"),)
FORM: Headers = (("Content-Type", "application/x-www-form-urlencoded"),)
CHAT = "/v1/chat/completions"


def asked(
    body: object = b"", *, target: str = CHAT, fields: Headers = JSON, key: str = KEY, method: str = "POST"
) -> Request:
    """A request with a key."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return Request(method, target, (*fields, ("Authorization", f"Bearer {key}")), content)


def stored(request: Request, redactor: Redactor) -> Request:
    """As a cassette holds it."""
    masked = redactor.request(request)
    return replace(masked, headers=headers.STORED.of_request(masked.headers))


REQUESTS = {
    "plain": asked({"prompt": "hello"}),
    "echo": asked({"prompt": f"my key is {KEY}!"}),
    "escaped": asked(b'{"prompt":"\\u0073k-proj-' + SHAPE[8:].encode() + b'"}'),
    "escaped slash": asked(b'{"prompt":"' + KEY.replace("/", "\\/").encode() + b'"}'),
    "json in json": asked({"arguments": orjson.dumps({"a": f"{KEY}\n", "b": SHAPE}).decode()}),
    "shape": asked({"messages": [{"role": "user", "content": f"use {SHAPE}."}]}),
    "query": asked({"prompt": "x"}, target=f"{CHAT}?api_key={KEY}&x=1"),
    "path": asked(method="GET", target=f"/v1/keys/{SHAPE}/use"),
    "form": asked(b"grant_type=x&client_secret=abc-123-def&echo=s3cret-k3y-0123%2F45%2B6%3D", fields=FORM),
    "multipart": asked(
        b'--b\r\nContent-Disposition: form-data; name="k"\r\n\r\n' + KEY.encode() + b"\r\n--b--\r\n",
        fields=(("Content-Type", "multipart/form-data; boundary=b"),),
    ),
    "gzip": asked(gzip.compress(orjson.dumps({"prompt": SHAPE})), fields=(*JSON, ("Content-Encoding", "gzip"))),
    "user agent": asked({"prompt": "x"}, fields=(*JSON, ("User-Agent", f"curl {KEY}"))),
    "bytes": asked(b"\x00\xff" + KEY.encode() + b"\\", fields=()),
    "number": asked({"seed": 123456789, "text": "123456789"}, key="123456789"),
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_nothing_secret_is_left(request_: Request) -> None:
    """In target, fields and body; JSON stays JSON; sizes stay but where a coding had to go."""
    masked = stored(request_, Redactor(SALT))
    everything = repr(masked).encode() + gzip.decompress(masked.body) if masked.body[:2] == b"\x1f\x8b" else b""
    everything += masked.target.encode() + repr(masked.headers).encode() + masked.body
    for secret in (KEY, SHAPE, "abc-123-def", "0123%2F45", "123456789"):
        assert secret.encode() not in everything
    if masked.body[:1] == b"{":
        orjson.loads(masked.body)
    if headers.get(request_.headers, "content-encoding") is None:
        assert len(masked.body) == len(request_.body)
        assert len(masked.target) == len(request_.target)


@pytest.mark.parametrize("rules", [(), ("$.prompt",), ("re:[a-z]+",), ("header:content-type",)], ids=str)
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_the_stored_request_has_the_key_of_the_live_one(request_: Request, rules: tuple[str, ...]) -> None:
    """And masking again changes nothing."""
    redactor = Redactor(SALT, rules)
    matcher = Matcher(MatchRules(), redactor)
    kept = stored(request_, redactor)
    assert matcher.key(kept) == matcher.key(request_)
    assert stored(kept, redactor) == kept
    assert redactor.request(redactor.request(request_)) == redactor.request(request_)


@given(st.binary(max_size=200), st.sampled_from([JSON, FORM, ()]), st.text("ab=&%?\\~*", max_size=20))
def test_any_request_passes(body: bytes, fields: Headers, query: str) -> None:
    """Nothing raises, and what is done is done."""
    request = asked(body, target=f"{CHAT}?{query}", fields=fields)
    redactor = Redactor(SALT, ("re:[b-y]{3}", "$..a"))
    kept = stored(request, redactor)
    assert stored(kept, redactor) == kept
    assert len(kept.body) == len(body)
    assert Matcher(MatchRules(), redactor).key(kept) == Matcher(MatchRules(), redactor).key(request)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.just(KEY),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.sampled_from(["$..a", "$[0]", "$.*", "re:[0-9a-f]+", "re:."]))
def test_json_stays_json(value: object, rule: str) -> None:
    """Whatever a rule leads to: a string, a number, true, an object."""
    body = json.dumps([value, {"a": value}], allow_nan=False).encode()
    masked = Redactor(SALT, (rule,)).request(asked(body)).body
    assert len(masked) == len(body)
    assert KEY.encode() not in masked
    assert len(json.loads(masked)) == 2


def test_another_key_is_the_same_request_and_another_secret_another_one() -> None:
    """What lets a request in does not say what it asks; a secret in the prompt does."""
    matcher = Matcher(MatchRules(), Redactor(SALT))
    one, two = (matcher.key(asked({"prompt": f"I am {key}"}, key=key)) for key in ("first-key-1", "another-key-22"))
    assert one == two
    one, two = (matcher.key(asked({"prompt": secret})) for secret in (SHAPE, SHAPE.replace("aB3", "cD4")))
    assert one != two
    # The memo of keys knows who asks.
    body = {"prompt": "first-key-1"}
    assert matcher.key(asked(body, key="first-key-1")) != matcher.key(asked(body, key="another-key-22"))


def test_a_matcher_without_a_redactor_compares_as_before() -> None:
    """Old cassettes."""
    request = asked({"prompt": SHAPE})
    assert Matcher(MatchRules()).key(request) != Matcher(MatchRules(), Redactor(SALT)).key(request)
    assert Matcher(MatchRules()).key(request) == Matcher(MatchRules()).key(replace(request, headers=JSON))


BAD = {
    "header:": "is not a rule",
    "cookie": "is not a rule",
    "re:": "is not a rule",
    "re:(": "is not a regular expression",
    "re:x*": "matches where there is nothing",
    "$.[": "is not a JSONPath",
}


@pytest.mark.parametrize(("rule", "reason"), BAD.items())
def test_a_rule_that_makes_no_sense_is_refused(rule: str, reason: str) -> None:
    """By name, with what to write instead."""
    with pytest.raises(SettingsError, match=reason):
        Redactor(SALT, (rule,))


PATHS = [
    ("$.user", {"user": "alice", "n": 1}, {"user": "*****", "n": 1}),
    ("$.a.b[1]", {"a": {"b": ["x", "yyyy", "z"]}}, {"a": {"b": ["x", "****", "z"]}}),
    ("$..pin", {"x": [{"pin": 1234}, {"pin": True}]}, {"x": [{"pin": 9999}, {"pin": 9999}]}),
    ("$.secret", {"secret": {"deep": ["aa", {"b": "cc"}]}}, {"secret": {"deep": ["**", {"b": "**"}]}}),
    ("$.missing", {"a": "b"}, {"a": "b"}),
]


@pytest.mark.parametrize(("rule", "body", "masked"), PATHS)
def test_a_path_leads_to_what_is_masked(rule: str, body: object, masked: object) -> None:
    """A string keeps its quotes, a number its digits, an object its keys."""
    assert orjson.loads(Redactor(SALT, (rule,)).request(asked(body)).body) == masked


def test_a_header_that_a_rule_names_is_not_kept() -> None:
    """Neither of requests nor of answers."""
    redactor = Redactor(SALT, ("header:X-Request-Id",))
    request = asked({}, fields=(*JSON, ("x-request-id", "r-1")))
    assert headers.get(redactor.request(request).headers, "x-request-id") is None
    assert redactor.stream_redactor(redactor.credentials(request)).redact_fields(
        (("X-Request-ID", "r-1"), ("Server", "x"))
    ) == (("Server", "x"),)


def test_a_cassette_is_redacted_by_its_own_rules_and_more() -> None:
    """With its own salt, so that masks stay equal; each rule once. Without a redactor the salt is new."""
    own = Redactor(b"salt", ("$.a", "$.b"))
    extended = Redactor.extended(own, ("$.b", "$.c"), b"new")
    assert (extended.salt, extended.rules) == (b"salt", ("$.a", "$.b", "$.c"))
    first = Redactor.extended(None, ("$.c",), b"new")
    assert (first.salt, first.rules) == (b"new", ("$.c",))


class CountingRedactor(Redactor):
    """Counts how often a request is searched."""

    searched = 0

    def _without_secrets(self, request: Request, credentials: Credentials | None) -> Request:
        self.searched += 1
        return super()._without_secrets(request, credentials)


@pytest.mark.parametrize(
    ("fields", "body", "searched"),
    [
        ((("Authorization", "Bearer abc"),), b"{}", 1),
        ((), b'{"key":"sk-proj-%b"}' % (b"aB3" * 12), 1),
        ((), b" " * 20_000, 1),
        ((), b"{}", 2),
    ],
    ids=["credentials", "secret in the body", "long", "short without secrets"],
)
def test_a_request_is_masked_once_for_key_and_cassette(fields: Headers, body: bytes, searched: int) -> None:
    """The result is kept with the request, but for short ones without secrets, which would refer to themselves."""
    redactor, request = CountingRedactor(b"salt"), Request("POST", "/", fields, body)
    first, second = redactor.request(request), redactor.request(request)
    assert (redactor.searched, first == second) == (searched, True)
    assert redactor.request(first) == first
