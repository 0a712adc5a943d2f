"""Shapes of answers, and what changed between two, in three tiers."""

from __future__ import annotations

from typing import Any

import pytest

from replayproxy.core.comparison.shape import MOST_PATHS, ShapeChange, TypeChange, compare_shapes, shape_of


def test_a_shape_is_paths_with_types() -> None:
    """The union over all events; items of a list share one path."""
    assert shape_of([{"a": [1, {"b": None}]}, {"a": [], "c": True}]) == {
        "$": {"object"},
        "$.a": {"array"},
        "$.a[]": {"number", "object"},
        "$.a[].b": {"null"},
        "$.c": {"boolean"},
    }


@pytest.mark.parametrize(
    ("first", "second", "change"),
    [
        ({"a": 1}, {"a": 2.5}, ShapeChange()),
        ({"a": 1}, {"a": 1, "b": {"c": 1}}, ShapeChange(added=("$.b",))),
        ({"a": 1, "b": {"c": 1}}, {"a": 1}, ShapeChange(removed=("$.b",))),
        ({"a": 1}, {"a": "1"}, ShapeChange(changed=(TypeChange("$.a", "number", "string"),))),
        # What a server sends null for until it has a value is neither there nor gone.
        ({"a": None}, {"a": {"b": 1}}, ShapeChange()),
        ({"a": {"b": 1}}, {"a": None}, ShapeChange()),
        ({"a": 1}, {"a": 1, "b": None}, ShapeChange()),
        # An empty list says nothing of its items.
        ({"a": []}, {"a": [{"b": 1}]}, ShapeChange()),
        ({"a": [{"b": 1}]}, {"a": []}, ShapeChange()),
        ({"a": [{"b": 1}]}, {"a": [{"c": 1}]}, ShapeChange(added=("$.a[].c",), removed=("$.a[].b",))),
        # Names that are data: tokens, and what a model wrote for a tool.
        ({"top_logprobs": [{"x": 1}]}, {"top_logprobs": [{"y": 1}]}, ShapeChange()),
        ({"input": {"x": 1}}, {"input": {"y": 1}}, ShapeChange()),
    ],
)
def test_the_tiers(first: Any, second: Any, change: ShapeChange) -> None:
    """Added, removed, type changed; of a part that is new only its topmost path."""
    assert compare_shapes(shape_of([first]), shape_of([second])) == change


def test_only_what_a_client_may_rely_on_breaks_it() -> None:
    """An added field does not."""
    assert not ShapeChange(added=("$.a",)).may_break_clients
    assert ShapeChange(removed=("$.a",)).may_break_clients
    assert ShapeChange(changed=(TypeChange("$.a", "x", "y"),)).may_break_clients


def test_a_shape_is_bounded() -> None:
    """However many names a stranger's body has, and however deep it is."""
    deep: Any = 1
    for _ in range(500):
        deep = {"a": deep}
    assert len(shape_of([{str(name): 1 for name in range(10_000)}])) == MOST_PATHS
    assert len(shape_of([deep])) < 50
