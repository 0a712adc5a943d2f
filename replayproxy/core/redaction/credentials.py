"""Collect the credentials of a request: header values, cookies and query parameters, and their other encodings.

A name marks its value as a secret, not the form of the value: new vendors name their header `…-key` too. Placeholders
that servers document for "no key" are not credentials.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from urllib.parse import quote, unquote_to_bytes

from replayproxy.core.headers import hands_out_credentials
from replayproxy.core.redaction import masks
from replayproxy.model import Headers, Request

MIN_CREDENTIAL = 6
"""Bytes. A shorter value would be masked wherever it is an ordinary word."""

MIN_COOKIE = 8
"""Bytes, for cookies and other fields, which often carry settings: `lang=en-US`, `theme=dark`. A short value of letters
only is not a credential."""

MIN_VAGUE = 16
"""Characters, for parameters such as `key=`: short values that differ must not become one request."""

MIN_CUT_CREDENTIAL = 8
"""Bytes. That much of a credential at the end of a cut answer is masked too."""

PLACEHOLDERS = frozenset(
    {"ollama", "lm-studio", "no-key", "no-key-required", "sk-no-key-required", "not-needed", "placeholder", "dummy"}
)
"""What clients send to a server without keys, from the documentation of Ollama, LM Studio, llama.cpp and LangChain."""

CREDENTIAL_FIELDS = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key"})
VAGUE_PARAMETERS = frozenset({"key", "token", "session", "auth"})
NOT_SECRET = frozenset({"idempotency-key", "sec-websocket-key", "x-session-affinity", "x-idempotency-key"})

_HEADER = re.compile(
    r"(?:^|[-_])(?:auth|authorization|api[-_]?key|apikey|key|token|secret|password|passwd|pwd|credentials?|signature"
    r"|cookie2?|session|jwt|assertion)(?:$|[-_])"
)
_PARAMETER = re.compile(
    r"(?:^|[-_.])(?:auth|authorization|api[-_]?key|apikey|key|token|secret|password|passwd|pwd|credentials?|signature"
    r"|sig|session|jwt|assertion|access[-_]?token)(?:$|[-_.])"
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9-]*\s+(?=\S)")
_SIMPLE = re.compile(rb"[A-Za-z0-9._~+/=%@!$&*()|;:^-]+")
_NUMBER = re.compile(rb"[0-9.eE+-]+")
_NOT_IN_SIMPLE = (b"\n", b'"', b" ", b",")


@dataclass(frozen=True, slots=True)
class Credentials:
    """The byte strings to mask wherever they appear, longest first, in every encoding except escapes."""

    needles: tuple[bytes, ...] = ()
    irregular: tuple[bytes, ...] = field(init=False, compare=False)
    """Needles that may contain quotes, white space or escapes."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "irregular", tuple(needle for needle in self.needles if not is_simple(needle)))

    def __add__(self, other: Credentials) -> Credentials:
        if not other.needles or other.needles == self.needles:
            return self
        return Credentials(_sorted(chain(self.needles, other.needles)))

    def incomplete_from(self, text: bytes) -> int:
        """Return where a credential begins whose end has not arrived, or the length of the text."""
        start = len(text)
        for needle in self.irregular if text.endswith(_NOT_IN_SIMPLE) else self.needles:
            start = min(start, len(text) - _overlap(text[-len(needle) + 1 :] if len(needle) > 1 else b"", needle))
        return start

    def occurrences(self, text: bytes, start: int, stop: int) -> Iterator[tuple[int, int, bytes]]:
        """Yield spans of credentials. Overlapping occurrences are one span: `aaaaaa` in a long run of `a` is one, not
        one per byte."""
        for needle in self.needles:
            size = len(needle)
            at = text.find(needle, start, stop)
            while at >= 0:
                end = at + size
                # The last occurrence that overlaps this one: two steps advance by at least one needle, so this is
                # linear also for a text of one repeated character.
                while (more := text.rfind(needle, end - size + 1, min(stop, end + size))) >= 0:
                    end = more + size
                yield at, end, needle
                at = text.find(needle, end, stop)


NONE = Credentials()

_QUICK_ATTEMPTS = 32
"""Positions that are tried before the linear algorithm takes over. It is slower on ordinary text, but cannot be
attacked with repetitive text."""


def _overlap(tail: bytes, needle: bytes) -> int:
    """Return the length of the longest suffix of `tail` that is a prefix of `needle`."""
    tried, at = 0, tail.find(needle[:1])
    while at >= 0:
        if needle.startswith(tail[at:]):
            return len(tail) - at
        tried += 1
        if tried > _QUICK_ATTEMPTS:
            return _overlap_in_linear_time(tail[at:], needle)
        at = tail.find(needle[:1], at + 1)
    return 0


def _overlap_in_linear_time(tail: bytes, needle: bytes) -> int:
    """Return the same by Knuth, Morris and Pratt, in linear time."""
    failures = _failure_table(needle)
    matched = 0
    for byte in tail:
        while matched and (matched == len(needle) or needle[matched] != byte):
            matched = failures[matched - 1]
        matched += needle[matched] == byte
    return matched


@lru_cache(64)
def _failure_table(needle: bytes) -> list[int]:
    """Return the failure function of the needle: per prefix, the length of its longest proper suffix that is a
    prefix."""
    failures = [0] * len(needle)
    matched = 0
    for place in range(1, len(needle)):
        while matched and needle[matched] != needle[place]:
            matched = failures[matched - 1]
        matched += needle[matched] == needle[place]
        failures[place] = matched
    return failures


@lru_cache(1024)
def names_credential(field: str) -> bool:
    """Return whether a header field of this name carries a credential."""
    name = field.lower()
    return name not in NOT_SECRET and _HEADER.search(name) is not None


@lru_cache(1024)
def names_secret(parameter: str) -> bool:
    """Return whether a query parameter of this name carries a credential."""
    # accessToken, X-Amz-Security-Token, api_key
    return _PARAMETER.search(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", parameter).lower()) is not None


def credential_fields(headers: Headers) -> Headers:
    """Return the header fields that carry credentials."""
    return tuple(line for line in headers if names_credential(line[0]))


def of_request(request: Request) -> Credentials:
    """Return all credentials of a request."""
    lines = credential_fields(request.headers)
    parameters = tuple(secret_parameters(request.query)) if "=" in request.query else ()
    return _credentials_in(lines, parameters) if lines or parameters else NONE


def of_answer(headers: Headers) -> Credentials:
    """Return the cookies that an answer sets, since they are credentials of the next request."""
    lines = tuple(line for line in headers if line[0].lower() in ("set-cookie", "set-cookie2"))
    return _credentials_in(lines, ()) if lines else NONE


def mask_answer_field(name: str, value: bytes) -> str:
    """Mask the value of an answer's field if it hands out a credential, whatever its length.

    Of a cookie only the value is masked, so that a client of the replay has a cookie of that name and scope.
    """
    text = value.decode("latin-1")
    if name.lower() in ("set-cookie", "set-cookie2"):
        cookie, mark, attributes = text.partition(";")
        key, equals, secret = cookie.partition("=")
        return (
            f"{key}{equals}{_star_out(secret)}{mark}{attributes}" if equals else _star_out(cookie) + mark + attributes
        )
    return _star_out(text) if hands_out_credentials(name) else text


def _star_out(secret: str) -> str:
    return secret if masks.is_mask(secret.encode("latin-1", "replace")) else "*" * len(secret)


def secret_parameters(query: str) -> Iterator[str]:
    """Yield the raw values of query parameters that are secret by their name."""
    for part in query.split("&"):
        name, mark, value = part.partition("=")
        if mark and is_secret_parameter(unquote_to_bytes(name).decode("latin-1"), value):
            yield value


def is_secret_parameter(name: str, value: str) -> bool:
    """Return whether a parameter is a credential. With a vague name such as `key` its value must also be long
    enough."""
    if not names_secret(name) or value.lower() in PLACEHOLDERS:
        return False
    return len(value) >= (MIN_VAGUE if name.lower() in VAGUE_PARAMETERS else MIN_CREDENTIAL)


@lru_cache(1024)
def _credentials_in(lines: Headers, parameters: tuple[str, ...]) -> Credentials:
    values = chain.from_iterable(_field_values(name.lower(), value.strip()) for name, value in lines)
    unquoted = (unquote_to_bytes(value.replace("+", " ")) for value in parameters)
    raw = (value.encode("latin-1", "replace") for value in parameters)
    values_to_mask = {
        value
        for value in chain((v.encode("latin-1", "replace") for v in values), unquoted, raw)
        if _is_credential(value)
    }
    return Credentials(_sorted(chain.from_iterable(map(_encodings, values_to_mask))))


def _is_credential(value: bytes) -> bool:
    return (
        len(value) >= MIN_CREDENTIAL
        and value.decode("latin-1").lower() not in PLACEHOLDERS
        and not masks.is_mask(value)
        and masks.MASK.search(value) is None
    )


def _field_values(name: str, value: str) -> Iterator[str]:
    if name in ("cookie", "cookie2"):
        for part in value.split(";"):
            yield from _cookie_values(part.partition("=")[2])
    elif name in ("set-cookie", "set-cookie2"):
        yield from _cookie_values(value.partition(";")[0].partition("=")[2])
    elif scheme := _SCHEME.match(value):
        token = value[scheme.end() :].strip()
        yield token
        if scheme[0].strip().lower() == "basic":
            yield from _basic_values(token)
        if "=" in token and "," in token:  # Digest, AWS4-HMAC-SHA256: a list of parameters
            yield from (secret.strip('" ') for secret in secret_parameters(token.replace(", ", "&").replace(",", "&")))
    elif name in CREDENTIAL_FIELDS:
        yield value
    else:
        yield from _cookie_values(value)


def _cookie_values(value: str) -> Iterator[str]:
    value = value.strip().strip('"')
    if len(value) >= MIN_COOKIE and (len(value) >= 2 * MIN_COOKIE or not value.isalpha()):
        yield value
        plain = unquote_to_bytes(value).decode("latin-1")
        if plain != value:
            yield plain


def _basic_values(token: str) -> Iterator[str]:
    try:
        plain = base64.b64decode(token + "=" * (-len(token) % 4), validate=True).decode("latin-1")
    except (binascii.Error, ValueError):
        return
    yield plain
    yield plain.partition(":")[2]


def _encodings(value: bytes) -> Iterator[bytes]:
    """Yield a value and its other encodings: UTF-8, percent codes, and base64 at each of its three phases."""
    yield value
    if not value.isascii():
        yield value.decode("latin-1").encode()
    for safe in ("", "/"):
        quoted = quote(value, safe=safe).encode()
        yield from (quoted, quoted.replace(b"%20", b"+"), re.sub(rb"%[0-9A-F]{2}", lambda m: m[0].lower(), quoted))
    for phase in range(3):
        # The base64 digits at both ends depend on the neighbouring bytes, so they are not part of the needle.
        digits = base64.b64encode(b"\0" * phase + value)[(0, 2, 3)[phase] :]
        digits = digits[: (len(value) + phase) * 8 // 6 - (0, 2, 3)[phase]]
        if len(digits) >= MIN_COOKIE:
            yield from (digits, digits.replace(b"+", b"-").replace(b"/", b"_"))


def _sorted(needles: Iterable[bytes]) -> tuple[bytes, ...]:
    """Sort longest first: of two needles that begin at the same byte the longer one is masked."""
    return tuple(sorted(set(needles), key=lambda needle: (-len(needle), needle)))


@lru_cache(4096)
def is_simple(needle: bytes) -> bool:
    """Return whether the needle consists of characters that are never escaped in JSON and never separate its
    strings."""
    return _SIMPLE.fullmatch(needle) is not None and not needle.startswith(b":")


@lru_cache(4096)
def is_number(needle: bytes) -> bool:
    """Return whether the needle may be part of a JSON number."""
    return _NUMBER.fullmatch(needle) is not None
