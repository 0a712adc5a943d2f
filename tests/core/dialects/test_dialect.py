"""What the dialects share: reading fields that may be missing or of another type."""

from __future__ import annotations

from replayproxy.core.dialects.dialect import count, nested, objects, strings


def test_other_types_count_as_absent() -> None:
    """Nothing is converted: `true` is not a count, a number is not a string."""
    assert [count(value) for value in (0, 7, 2**53 - 1, 2**53, -1, True, 1.0, "1", None)] == [0, 7, 2**53 - 1] + [
        None
    ] * 6
    assert list(objects([{}, 1, None, {"a": 1}])) == [{}, {"a": 1}]
    assert list(objects({"a": 1})) == list(objects(None)) == []
    assert strings("a", 1, None, "b") == ["a", "b"]
    assert nested({"a": {"b": 1}}, "a") == {"b": 1}
    assert nested({"a": 1}, "a") == nested([], "a") == {}
