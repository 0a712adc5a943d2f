"""Tests of `simulator/schema`: every value matches its schema, within the ranges, and always the same one."""

from __future__ import annotations

import random
from typing import Any

import pytest

from replayproxy.simulator.generation import TextSettings, ToolRanges
from replayproxy.simulator.schema import STRINGS, SchemaValues


def values(schema: Any, count: int = 200, probability: int = 50, **ranges: Any) -> list[Any]:
    """What is invented with these seeds."""
    settings = TextSettings(ranges=ToolRanges(**ranges))
    return [
        SchemaValues(schema, random.Random(seed), settings, probability=probability).value() for seed in range(count)
    ]


@pytest.mark.parametrize(
    ("schema", "holds"),
    [
        ({"type": "string"}, lambda value: value in STRINGS),
        ({"type": "string", "minLength": 40, "maxLength": 44}, lambda value: 40 <= len(value) <= 44),
        ({"type": "string", "maxLength": 2}, lambda value: len(value) <= 2),
        ({"type": "string", "format": "date"}, lambda value: value == "2026-03-14"),
        ({"enum": ["a", 1, None]}, lambda value: value in ("a", 1, None)),
        ({"const": {"a": 1}}, lambda value: value == {"a": 1}),
        ({"type": "boolean"}, lambda value: value in (True, False)),
        ({"type": "null"}, lambda value: value is None),
        ({"type": "integer"}, lambda value: isinstance(value, int) and 0 <= value <= 100),
        ({"type": "integer", "minimum": 90}, lambda value: 90 <= value <= 100),
        ({"type": "integer", "minimum": 1000}, lambda value: 1000 <= value <= 1100),
        ({"type": "integer", "maximum": -5}, lambda value: value <= -5),
        ({"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5}, lambda value: value == 4),
        ({"type": "integer", "minimum": 1, "maximum": 20, "multipleOf": 5}, lambda value: value in (5, 10, 15, 20)),
        ({"type": "number"}, lambda value: 0 <= value <= 100),
        ({"type": "number", "minimum": 0.5, "maximum": 1}, lambda value: 0.5 <= value <= 1),
        ({"type": "array", "items": {"type": "integer"}}, lambda value: 1 <= len(value) <= 5),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 7}, lambda value: len(value) == 7),
        ({"type": "array", "items": {"type": "null"}, "maxItems": 0}, lambda value: value == []),
        (
            {"type": "array", "items": {"type": "null"}, "minItems": 2, "maxItems": 9},
            lambda value: 2 <= len(value) <= 9,
        ),
        (
            {"type": "array", "items": {"enum": [1, 2]}, "uniqueItems": True},
            lambda value: len(set(value)) == len(value),
        ),
        ({"prefixItems": [{"const": 1}, {"const": 2}], "minItems": 2, "maxItems": 2}, lambda value: value == [1, 2]),
        ({"anyOf": [{"const": 1}, {"type": "null"}]}, lambda value: value in (1, None)),
        ({"type": ["integer", "null"]}, lambda value: value is None or 0 <= value <= 100),
        ({"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 4}]}, lambda value: value in (3, 4)),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"const": 7}}}, lambda value: value == 7),
        ({}, lambda value: isinstance(value, str)),
        (True, lambda value: isinstance(value, str)),
    ],
)
def test_values_match(schema: Any, holds: Any) -> None:
    """Whatever is drawn."""
    found = values(schema)
    assert all(map(holds, found)), next(value for value in found if not holds(value))


def test_ranges_are_those_of_the_settings() -> None:
    """Both ends are reached."""
    assert set(values({"type": "integer"}, min_integer=3, max_integer=5)) == {3, 4, 5}
    assert {len(value) for value in values({"type": "array"}, min_array=0, max_array=2)} == {0, 1, 2}
    assert all(-1 <= value <= 1 for value in values({"type": "number"}, min_number=-1.0, max_number=1.0))


@pytest.mark.parametrize(("probability", "share"), [(0, 0), (100, 200), (50, pytest.approx(100, abs=25))])
def test_what_is_required_is_there_and_the_rest_sometimes(probability: int, share: object) -> None:
    """As often as the probability says."""
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "c"],
        "additionalProperties": {"const": 5},
    }
    found = values(schema, probability=probability)
    assert all("a" in value and value["c"] == 5 for value in found)
    assert sum("b" in value for value in found) == share


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "object", "properties": {"c": {"$ref": "#/$defs/tree"}}}}},
        {
            "$ref": "#/$defs/t",
            "$defs": {"t": {"type": "object", "properties": {"c": {"$ref": "#/$defs/t"}}, "required": ["c"]}},
        },
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1, "maxItems": 1},
        {"type": "array", "minItems": 10**12},
        {"type": "string", "minLength": 10**9},
        {"allOf": [{"$ref": "#"}]},
        {"type": "object", "properties": {name: {"$ref": "#"} for name in "abcde"}, "required": list("abcde")},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 900},
    ],
)
def test_a_schema_without_an_end_comes_to_one(schema: Any) -> None:
    """Nothing is deeper or longer than the limits."""
    assert len(repr(values(schema, count=3))) < 1_000_000


def test_the_same_draw_gives_the_same_value() -> None:
    """And others give others."""
    schema = {"type": "array", "items": {"type": "integer"}, "minItems": 5}
    assert values(schema) == values(schema)
    assert len({str(value) for value in values(schema)}) > 100
