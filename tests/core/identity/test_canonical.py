"""Equal JSON has one spelling, different JSON has two."""

from __future__ import annotations

import json
import math
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.core.identity import canonical

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=5), inside, max_size=4),
    max_leaves=12,
)

SAME = [
    (b'{"a":1,"b":2}', b'{"b":2,"a":1}'),
    (b'{"a":{"c":[1,2],"b":2}}', b' {"a" : {"b":2,\n"c":[1,\t2]} }\r\n'),
    (b'"\\u00e9\\/\\u4f60\\ud83d\\ude00"', '"é/你😀"'.encode()),
    (b'"\\t"', b'"\\u0009"'),
    (b"1", b"1.0"),
    (b"1", b"10e-1"),
    (b"100", b"1E2"),
    (b"0", b"-0.0"),
    (b"0", b"-0"),
    (b"0.5", b"5e-1"),
    (b"0.70", b"0.7"),
    (b"[1.0,1234567890123456789]", b"[1,1234567890123456789]"),
    (b"100000000000000000000000", b"1e23"),
    (b"9007199254740993", b"9007199254740993.0"),
    (b'{"a":2,"a":1}', b'{"a":1}'),
]

DIFFERENT = [
    (b"{}", b'{"a":null}'),
    (b"1", b"true"),
    (b"0", b"false"),
    (b"1", b'"1"'),
    (b"[]", b"{}"),
    (b"null", b"[]"),
    (b"[1,2]", b"[2,1]"),
    (b'""', b"null"),
    (b"1", b"1.5"),
    (b"9007199254740992", b"9007199254740993"),
    (b"9007199254740993.0", b"9007199254740992.0"),
    (b"18446744073709551616", b"18446744073709551617"),
    (b"100000000000000000000000", b"99999999999999991611392"),
    (b"9007199254740994", b"9007199254740993.5"),
    (b'"a"', b'"A"'),
    (b'"\\ud800"', b'"\\ud801"'),
    ('"é"'.encode(), '"e\u0301"'.encode()),
]


def encoded(body: bytes) -> bytes:
    """The one spelling."""
    return canonical.dumps(canonical.loads(body))


@pytest.mark.parametrize(("one", "other"), SAME)
def test_equal_values_have_one_spelling(one: bytes, other: bytes) -> None:
    """Key order, white space, escapes and the spelling of numbers do not matter; of a repeated key the last counts."""
    assert encoded(one) == encoded(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_values_have_two(one: bytes, other: bytes) -> None:
    """Absent is not null, true is not 1, and numbers compare exactly, also beyond 2^53 and 2^64."""
    assert encoded(one) != encoded(other)


@given(JSON, st.randoms(use_true_random=False))
def test_how_it_was_written_does_not_matter(value: Any, chance: random.Random) -> None:
    """Permuted keys, indentation, escapes, integral floats: one spelling, which is its own spelling."""
    plain = encoded(json.dumps(value).encode())
    odd = json.dumps(
        rewritten(value, chance), indent=chance.choice([None, 1, "\t"]), ensure_ascii=chance.random() < 0.5
    )
    assert encoded(odd.encode()) == plain
    assert encoded(plain) == plain


@given(JSON, JSON)
def test_two_values_share_a_spelling_only_if_they_are_equal(one: Any, other: Any) -> None:
    """Equal in Python, where 1 == 1.0, but booleans are not numbers."""
    same = marked(one) == marked(other)
    assert (encoded(json.dumps(one).encode()) == encoded(json.dumps(other).encode())) is same


def rewritten(value: Any, chance: random.Random) -> Any:
    """The same value with its keys in another order and some integers as floats."""
    if isinstance(value, dict):
        items = [(name, rewritten(item, chance)) for name, item in value.items()]
        chance.shuffle(items)
        return dict(items)
    if isinstance(value, list):
        return [rewritten(item, chance) for item in value]
    if type(value) is int and abs(value) < 2**53 and chance.random() < 0.5:
        return float(value)
    return value


def marked(value: Any) -> Any:
    """The same value with booleans that equal no number."""
    if isinstance(value, dict):
        return {name: marked(item) for name, item in value.items()}
    if isinstance(value, list):
        return [marked(item) for item in value]
    return ("bool", value) if isinstance(value, bool) else value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'a':1}",
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b"1e400",
        b"-1e400",
        b"[1]x",
        b"\xff",
        b"\xef\xbb\xbf1",
        b"1\x00",
        b"1" * 5000,
        b"[" * 65 + b"]" * 65,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    """With ValueError, whatever it is: also numbers beyond every double, other encodings, and attacks in depth."""
    with pytest.raises(ValueError):  # noqa: PT011  the words are the parser's own
        canonical.loads(body)


def test_depth_has_one_limit() -> None:
    """64 lists in one another are read, 65 are not: it does not hang on the stack the parser starts from."""
    assert canonical.loads(b"[" * 64 + b"]" * 64) is not None
    assert canonical.loads(b"[" + b"[]," * 200 + b"[]]") == [[] for _ in range(201)]


def test_tiny_exponents_are_small_work() -> None:
    """A number of a few bytes must not become an integer of a gigabyte."""
    assert canonical.loads(b"[1e-999999999999999999999, 0e999999999999999999999, 1e308]") == [
        0,
        0,
        canonical.Huge("1e308"),
    ]
    assert not math.copysign(1, canonical.loads(b"-0.0")) < 0


def test_the_digest_is_tagged() -> None:
    """`rp1:` and 128 bits in hex. A golden value: if this changes, every cassette's keys do, and KEY_TAG must."""
    assert canonical.digest(b"") == "rp1:cae66941d9efbd404e4d88758ea67670"
    assert canonical.dumps({"b": [1, "é", None], "a": 0.5}) == '{"a":0.5,"b":[1,"é",null]}'.encode()


def test_a_number_is_as_long_as_it_was_written() -> None:
    """Beyond forty digits the exponent stays, in one spelling, also beside what only the other library can write."""
    same = [b"[1.5e300]", b"[15e299]", b"[150E+298]", b"[0.15e301]"]
    assert {canonical.dumps(canonical.loads(body)) for body in same} == {b"[15e299]"}
    assert (
        len({canonical.dumps(canonical.loads(body)) for body in (b"[1e300]", b"[1e301]", b"[-1e300]", b"[1e30]")}) == 4
    )
    beside = {canonical.dumps(canonical.loads(b'["\\ud800",' + body[1:])) for body in same}
    assert len(beside) == 1
    assert canonical.loads(b"[1e39]") == [10**39]


@given(
    st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", fullmatch=True).filter(
        lambda encoded: any(mark in encoded for mark in ".eE") and math.isfinite(float(encoded))
    )
)
def test_a_number_is_the_integer_that_decimal_says(encoded: str) -> None:
    """Written with a fraction or an exponent, whatever that is."""
    [value] = canonical.loads(f"[{encoded}]".encode())
    exact = Decimal(encoded)
    if isinstance(value, canonical.Huge):
        assert Decimal(value.encoded) == exact
        assert exact.adjusted() >= canonical.MOST_DIGITS
    elif isinstance(value, int):
        assert value == exact or abs(exact) < 2**53  # where the double nearest to it is one
    else:
        assert value == float(encoded)
        assert abs(value) < 2**53 or int(exact) != exact


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b",".join([b"[]"] * 2_100_000) + b"]",
        b"[" + b",".join([b"1"] * 4_100_000) + b"]",
        b'{"a":"\\"",' + b",".join([b'"b":""'] * 2_100_000) + b"}",
    ],
    ids=["lists", "numbers", "keys"],
)
def test_more_values_than_four_million_are_not_json(body: bytes) -> None:
    """They are compared as bytes: parsed, 128 MB of them would take 5 GB."""
    with pytest.raises(ValueError, match="too many values"):
        canonical.loads(body)


def test_what_stands_in_strings_is_no_value() -> None:
    """Of a text with many commas, escaped quotes among them."""
    assert canonical.loads(b'["' + b'\\",[' * 2_000_000 + b'"]')
