"""What lets a request in is known by the name it has, not by what it looks like."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.core.redaction import credentials
from replayproxy.core.redaction.credentials import Credentials, names_secret, of_answer, of_request
from replayproxy.model import Headers, Request

BASIC = base64.b64encode(b"alice:pass-w0rd").decode()

CARRIED: list[tuple[str, Headers, list[str]]] = [
    ("/", (("Authorization", "Bearer abc-123-def"),), ["abc-123-def"]),
    ("/", (("authorization", "abc-123-def"),), ["abc-123-def"]),
    ("/", (("Authorization", f"Basic {BASIC}"),), [BASIC, "alice:pass-w0rd", "pass-w0rd"]),
    ("/", (("Proxy-Authorization", "Bearer abc-123-def"),), ["abc-123-def"]),
    ("/", (("X-Api-Key", "abcdef"),), ["abcdef"]),
    ("/", (("api-key", "abcdef"),), ["abcdef"]),
    ("/", (("x-goog-api-key", "abcdef"),), ["abcdef"]),
    ("/", (("Ocp-Apim-Subscription-Key", "abcdef-123"),), ["abcdef-123"]),
    ("/", (("X-Amz-Security-Token", "abcdef-123"),), ["abcdef-123"]),
    ("/", (("Helicone-Auth", "Bearer abcdef-123"),), ["abcdef-123"]),
    ("/", (("X_Vendor_Secret", "abcdef-123"),), ["abcdef-123"]),
    ("/", (("Cookie", 'a=short; session="s3cret-s3cret"; theme=darkmode'),), ["s3cret-s3cret"]),
    ("/?api_key=abc-123-def", (), ["abc-123-def"]),
    ("/?x=1&access_token=abc%2D123", (), ["abc-123", "abc%2D123"]),
    ("/?key=0123456789abcdef", (), ["0123456789abcdef"]),
    ("/?X-Amz-Signature=0123456789abcdef", (), ["0123456789abcdef"]),
    ("/?clientSecret=abc-123-def", (), ["abc-123-def"]),
]

NOT_CARRIED: list[tuple[str, Headers]] = [
    ("/", ()),
    ("/?key=a&token=b&session=main", ()),
    ("/?max_tokens=100000&keyword=something", ()),
    ("/", (("Authorization", "Bearer EMPTY"),)),
    ("/", (("Authorization", "Bearer ollama"),)),
    ("/", (("X-Api-Key", "lm-studio"),)),
    ("/", (("Cookie", "lang=en-US; theme=darkmode"),)),
    ("/", (("Idempotency-Key", "stainless-python-retry-0123456789"),)),
    ("/", (("Content-Type", "application/json"), ("User-Agent", "OpenAI/Python 2.0"))),
    ("/", (("X-Ratelimit-Limit-Tokens-Per-Day", "1000000"),)),
    ("/", (("Authorization", "Bearer *~redacted~****"),)),
]


@pytest.mark.parametrize(("target", "headers", "secrets"), CARRIED)
def test_a_credential_is_known_by_its_name(target: str, headers: Headers, secrets: list[str]) -> None:
    """Whatever the vendor."""
    known = of_request(Request("POST", target, headers))
    assert {secret.encode() for secret in secrets} <= set(known.needles)


@pytest.mark.parametrize(("target", "headers"), NOT_CARRIED)
def test_what_is_none_masks_nothing(target: str, headers: Headers) -> None:
    """A placeholder, a short word, a mask: else the word would be masked wherever it stands."""
    assert of_request(Request("POST", target, headers)) == Credentials()


def test_a_cookie_that_is_set_is_a_credential_too() -> None:
    """It will let the next request in; its attributes will not."""
    known = of_answer((("Set-Cookie", "session=s3cret-s3cret; Path=/some/long/path; HttpOnly"),))
    assert b"s3cret-s3cret" in known.needles
    assert not any(b"path" in needle.lower() for needle in known.needles)


def test_a_credential_is_known_in_other_spellings() -> None:
    """In a URL, and within base64 at any phase."""
    secret = "s3cret/with+odd=signs"
    known = of_request(Request("GET", "/", (("X-Api-Key", secret),)))
    assert quote(secret, safe="").encode() in known.needles
    for before in ("", "a", "ab", "user:"):
        for after in ("", "x", "yz"):
            digits = base64.b64encode(f"{before}{secret}{after}".encode())
            assert any(needle in digits for needle in known.needles)


def test_parameters_of_other_names_are_not_secret() -> None:
    """`max_tokens` is no token, `keyword` no key."""
    names = ["max_tokens", "keyword", "tokenizer", "author", "monkey", "model", "n"]
    assert [name for name in names if names_secret(name)] == []


@given(st.text("ab", max_size=40), st.text("ab", min_size=1, max_size=12))
def test_the_longest_end_that_begins_a_credential_is_found(tail: str, needle: str) -> None:
    """By trying, and by reckoning, which give the same."""
    text, key = tail.encode(), needle.encode()
    expected = next(
        size for size in range(min(len(text), len(key)), -1, -1) if key.startswith(text[len(text) - size :])
    )
    assert credentials._overlap_in_linear_time(text[-len(key) :], key) == expected
    assert credentials._overlap(text[-len(key) :], key) == expected


@given(st.text("ab", max_size=60), st.text("ab", min_size=1, max_size=6))
def test_credentials_that_overlap_are_one_place(text: str, needle: str) -> None:
    """Each byte that one of them covers is in exactly one place."""
    body, key = text.encode(), needle.encode()
    starts = [at for at in range(len(body)) if body.startswith(key, at)]
    covered = {at + offset for at in starts for offset in range(len(key))}
    places = [range(start, stop) for start, stop, _ in credentials.Credentials((key,)).occurrences(body, 0, len(body))]
    assert sorted(at for place in places for at in place) == sorted(covered)
