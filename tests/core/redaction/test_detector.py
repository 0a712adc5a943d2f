"""What is found in one text, in whatever spelling; and what only looks like it."""

from __future__ import annotations

import re

import orjson
import pytest

from replayproxy.core.patterns import Pattern
from replayproxy.core.redaction.credentials import Credentials
from replayproxy.core.redaction.detector import Detector

SALT = b"0123456789abcdef"
KEY = b"nabc-u0041-key"
SHAPE = b"sk-proj-" + b"aB3" * 12


def detector(*needles: bytes, patterns: tuple[bytes, ...] = ()) -> Detector:
    """That looks for these."""
    return Detector(Credentials(needles), [Pattern(pattern.decode()) for pattern in patterns], SALT)


FOUND = [
    (b'{"a":"KEY"}', [b"KEY"]),
    (b'{"a":"x KEY y KEY"}', [b"KEY", b"KEY"]),
    (b'{"KEY":1}', [b"KEY"]),
    (b'{"a":"\\"KEY\\""}', [b"KEY"]),
    (b'{"a":"{\\"b\\":\\"KEY\\\\n\\"}"}', [b"KEY"]),
    (b'{"a":"\\u006eabc-u0041-key"}', [b"\\u006eabc-u0041-key"]),
    (b'{"a":"\\\\u006eabc-u0041-key"}', [b"\\\\u006eabc-u0041-key"]),
    (b'{"a":"SHAPE KEY"}', [b"SHAPE", b"KEY"]),
    (b'{"a":"SHAPE\\nKEY"}', [b"SHAPE", b"KEY"]),
    (b'{"a":"*~redacted~*****"}', []),
    (b'{"a":"*~0123456789abcdef~*****"}', []),
    # A line feed and then letters, an escape and then letters: no secret, and no JSON if it were masked.
    (b'{"a":"\\nabc-u0041-key"}', []),
    (b'{"a":"a backslash, and then \\\\KEY"}', [b"KEY"]),
]


def real(text: bytes) -> bytes:
    """With the secrets in their places."""
    return text.replace(b"KEY", KEY).replace(b"SHAPE", SHAPE)


@pytest.mark.parametrize(("text", "expected"), FOUND)
def test_a_secret_is_found_as_it_is_written(text: bytes, expected: list[bytes]) -> None:
    """Behind escapes, and behind those of the JSON within; what an escape only looks like is left."""
    text = real(text)
    found = detector(KEY).find(text, json=True)
    assert [text[one.start : one.stop] for one in found] == [real(part) for part in expected]
    masked = detector(KEY).mask(text, json=True)
    assert len(masked) == len(text)
    orjson.loads(masked)
    assert detector(KEY).mask(masked, json=True) == masked


def test_what_overlaps_is_masked_as_one() -> None:
    """A credential wins: its mask says nothing of it."""
    text = b"x " + SHAPE + b" y"
    assert detector(SHAPE[:20]).mask(text, json=False) == b"x " + b"*~redacted~*".ljust(len(SHAPE), b"*") + b" y"
    assert detector().mask(text, json=False) != detector(SHAPE[:20]).mask(text, json=False)


def test_patterns_hold_within_strings() -> None:
    """Never across them: `.*` masks contents, not JSON."""
    masked = detector(patterns=(b"(?s).+",)).mask(b'{"a":"b","c":[1,"two\\n\\u00e9"]}', json=True)
    assert re.fullmatch(rb'\{"\*":"\*","\*":\[1,"\*~[0-9a-f]{7}~\*"\]\}', masked)


def test_nothing_is_suspected_of_prose() -> None:
    """So it costs a look and no more."""
    assert not detector(KEY).may_contain_secret(
        b'{"messages":[{"content":"tell me of the sea: \\n\\"waves\\", \\u00e9"}]}'
    )
    assert detector(KEY).may_contain_secret(b"\\u0041")


PROSE: list[tuple[bytes, bytes]] = [
    (b"hush, cust-123456", b"hush, "),
    (b"data: hush, cust-123456\n\n", b"data: hush, "),
    (b": cust-123456\r\n\r\n", b": "),
    (b'data: "no json" cust-123456 and "cust-123456', b'data: "no json" '),
    (b"event: cust-123456\n", b"event: "),
]


@pytest.mark.parametrize(("text", "begins"), PROSE)
def test_a_pattern_is_found_where_json_was_promised_and_prose_came(text: bytes, begins: bytes) -> None:
    """A server says `text/event-stream` or `application/json`, and then what it likes."""
    looking = detector(patterns=(b"cust-[0-9]{6}",))
    masked = looking.mask(text, json=True)
    assert len(masked) == len(text)
    assert masked.startswith(begins)
    assert looking.mask(masked, json=True) == masked
    if not text.startswith(b'data: "'):
        assert b"cust-" not in masked


@pytest.mark.parametrize(
    "text", [b"[1,2,\n 3]", b'{\n  "a": true,\n  "b": [\n    1\n  ]\n}', b"data: {\ndata: true\n\n", b"-12.5", b"true"]
)
def test_json_is_never_taken_for_prose(text: bytes) -> None:
    """Whatever the pattern: numbers, names and marks of JSON stay."""
    assert detector(patterns=(rb"[0-9]+|true|[\[\]{}]",)).mask(text, json=True) == text
