"""What a stranger's msgpack may be: a list of so many things, and fields that can be sent."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from replayproxy.cassette.coding import untrusted
from replayproxy.errors import Damaged

NO_ARRAYS: dict[str, bytes] = {
    "nothing": b"",
    "more of them": msgpack.packb([1, 2, 3]),
    "fewer": msgpack.packb([1]),
    "a map": msgpack.packb({1: 2}),
    "something behind it": msgpack.packb([1, 2]) + b"\0",
    "half of it": msgpack.packb([1, "two"])[:-1],
    "a map within": msgpack.packb([1, {"a": 1}]),
    "an extension": msgpack.packb([1, msgpack.ExtType(5, b"abc")]),
    "four thousand million": b"\xdd\xff\xff\xff\xff",
}


@pytest.mark.parametrize("data", NO_ARRAYS.values(), ids=NO_ARRAYS.keys())
def test_what_is_no_list_of_so_many_is_damage(data: bytes) -> None:
    """And nothing is made room for that is not there."""
    assert untrusted.array(msgpack.packb([1, [b"2"]]), 2) == [1, [b"2"]]
    with pytest.raises(Damaged):
        untrusted.array(data, 2)


@pytest.mark.parametrize(
    "value", [None, "x", [["a"]], [["a", "b", "c"]], [["a", b"b"]], ["ab"], [["a", "b\n"]], [["\0", ""]]]
)
def test_fields_that_cannot_be_sent_are_damage(value: Any) -> None:
    """Pairs of texts without the end of a line."""
    assert untrusted.headers([["a", "b"], ["a", ""]]) == (("a", "b"), ("a", ""))
    with pytest.raises(Damaged):
        untrusted.headers(value)


@pytest.mark.parametrize(
    ("number", "is_one"), [(0, True), (7, True), (-1, False), (True, False), (1.0, False), (2**40, False)]
)
def test_what_counts(number: object, is_one: bool) -> None:
    """Whole numbers up to the longest body."""
    assert untrusted.is_count(number) == is_one
