"""One spelling for equal JSON, and the digest of it.

Equal means equal as values: key order, white space, escapes and the spelling of numbers do not matter; absent and
`null` differ; numbers are compared exactly, also beyond 2^53.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from itertools import chain
from typing import Any

import orjson

from replayproxy.model import KEY_TAG, Key

MAX_DEPTH = 64
"""Deeper bodies count as not JSON: they are attacks, and how deep a parser gets depends on the stack it starts from."""

MOST_DIGITS = 40
"""Of an integer that was written with an exponent. Written out, `1.5e300` is forty times as long, and a body of them
took 1.6 GB; such numbers keep their exponent, and differ from the same integer with all its digits."""

MOST_VALUES = 4_000_000
"""Brackets, commas and colons outside strings. A body with more of them is compared as bytes: each may cost 80 bytes of
memory once it is parsed, and 128 MB of `[[],[],...]` would take 5 GB."""

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)

_STRUCTURE = b"[{,:"

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS

_EXACT = 2**53  # below, every integral double is the integer it was spelled as


def loads(body: bytes) -> Any:
    """Parse JSON in UTF-8 so that numbers keep their exact value and `1.0` is `1`. Raises ValueError.

    The standard library and not orjson, which makes integers beyond 64 bit floats, and so different numbers equal;
    looking for those first costs more than the 4 us that orjson saves on a chat.
    """
    if has_too_many_values(body):
        raise ValueError("too many values")
    try:
        value = json.loads(body.decode(), parse_float=_number, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise ValueError("nested too deeply")
    return value


def has_too_many_values(body: bytes) -> bool:
    """Return whether a body is not to be parsed at all."""
    return len(body) > MOST_VALUES and _values(body) > MOST_VALUES and _values(_STRING.sub(b"", body)) > MOST_VALUES


def _values(text: bytes) -> int:
    return sum(text.count(mark) for mark in _STRUCTURE)


@dataclass(frozen=True, slots=True)
class Huge:
    """An integer that was written with an exponent, and is longer than MOST_DIGITS: its digits, and its exponent."""

    encoded: str


def _number(encoded: str) -> int | float | Huge:
    """What has a fraction or an exponent: an integer if it is one."""
    value = float(encoded)
    if not math.isfinite(value):
        raise ValueError(f"{encoded} is beyond every number")
    if not value.is_integer():
        return value
    if abs(value) < _EXACT:
        return int(value)
    # By its digits: `Decimal` writes an integer of 301 digits to tell that it is one, and a body may hold 300 000.
    mantissa, _, exponent = encoded.replace("E", "e").partition("e")
    whole, _, fraction = mantissa.partition(".")
    sign = "-" if whole.startswith("-") else ""
    power = int(exponent or 0) - len(fraction)
    digits = (whole.removeprefix("-") + fraction).lstrip("0")
    significant = digits.rstrip("0")
    power += len(digits) - len(significant)
    if power < 0:
        return value
    if len(significant) + power <= MOST_DIGITS:
        return int(f"{sign}{significant}{'0' * power}")
    return Huge(f"{sign}{significant}e{power}")


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _depth(value: Any) -> int:
    """How many lists and objects stand in one another, counted as far as it matters."""
    depth, level = 0, [value] if isinstance(value, dict | list) else []
    while level and depth <= MAX_DEPTH:
        depth += 1
        inside = chain.from_iterable(item.values() if isinstance(item, dict) else item for item in level)
        level = [item for item in inside if isinstance(item, dict | list)]
    return depth


def dumps(value: Any) -> bytes:
    """The one spelling: sorted keys, no white space, UTF-8, shortest numbers."""
    try:
        return orjson.dumps(value, option=_OPTIONS, default=_huge)
    except orjson.JSONEncodeError:  # an integer beyond 64 bit, a lone surrogate
        encoded = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_marked)
        return encoded.encode("utf-8", "surrogatepass")


def _huge(value: object) -> orjson.Fragment:
    if isinstance(value, Huge):
        return orjson.Fragment(value.encoded)
    raise TypeError


def _marked(value: object) -> dict[str, str]:
    """For numbers that the library cannot write in the given form."""
    if isinstance(value, Huge):
        return {"\0number": value.encoded}
    raise TypeError


def digest(form: bytes) -> Key:
    """128 bits of BLAKE2b, tagged."""
    return f"{KEY_TAG}:{hashlib.blake2b(form, digest_size=16).hexdigest()}"
