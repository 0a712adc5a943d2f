"""Invent a JSON value that matches a JSON schema. Pure; the same generator gives the same value.

Knows the keywords that tool parameters and structured outputs use: type, enum, const, properties, required, items,
prefixItems, minItems, maxItems, minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf, minLength, maxLength,
format, default, anyOf, oneOf, allOf, $ref. What it does not know it leaves out of account: `pattern`, `not`, `if`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

from replayproxy.simulator.generation import TextSettings

STRINGS = (
    "testing", "hello", "Boston", "sunny", "temperature", "cloudy", "question", "Yorick", "silence", "lifetime",
)  # fmt: skip
"""Strings of invented arguments, those of llm-d-inference-sim."""

FORMATS = {
    "date": "2026-03-14",
    "time": "09:26:53Z",
    "date-time": "2026-03-14T09:26:53Z",
    "duration": "P3D",
    "email": "hello@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
}

DEEPEST = 24
"""Levels of nesting; below them only what is required, so that a schema that contains itself comes to an end."""

MOST_VALUES = 5000
"""Values and references in one answer. A schema that refers to itself twice would double with each level."""

LONGEST_ARRAY = 1000
"""Items of an array, whatever `minItems` says: a request must not make us invent gigabytes."""

LONGEST_STRING = 100_000
"""Characters of a string, whatever `minLength` says."""


class SchemaValues:
    """Values for one schema. `probability`, in percent, is for what is not required."""

    def __init__(self, root: Any, draw: random.Random, settings: TextSettings, *, probability: int) -> None:
        self._root = root
        self._draw = draw
        self._settings = settings
        self._ranges = settings.ranges
        self._probability = probability
        self._left = MOST_VALUES

    def value(self) -> Any:
        """A value for the schema."""
        return self._value(self._root, 0, self._probability)

    def _value(self, schema: Any, depth: int, probability: int) -> Any:
        self._left -= 1
        if not isinstance(schema, Mapping) or depth > 2 * DEEPEST or self._left < 0:
            return self._draw.choice(STRINGS)
        schema = self._resolved(schema, depth)
        if "const" in schema:
            return schema["const"]
        if isinstance(enum := schema.get("enum"), list) and enum:
            return self._draw.choice(enum)
        for keyword in ("anyOf", "oneOf"):
            if isinstance(options := schema.get(keyword), list) and options:
                rest = {name: value for name, value in schema.items() if name != keyword}
                option = options[-1] if depth > DEEPEST else self._draw.choice(options)
                return self._value({**rest, **option} if isinstance(option, Mapping) else rest, depth + 1, probability)
        return self._of_type(_type(schema, self._draw), schema, depth, probability)

    def _resolved(self, schema: Mapping[str, Any], depth: int) -> Mapping[str, Any]:
        """With `$ref` and `allOf` put in."""
        for _ in range(DEEPEST):
            self._left -= 1
            if self._left < 0:
                break
            if isinstance(reference := schema.get("$ref"), str):
                rest = {name: value for name, value in schema.items() if name != "$ref"}
                schema = {**self._referred(reference), **rest}
            elif isinstance(parts := schema.get("allOf"), list):
                merged: dict[str, Any] = {name: value for name, value in schema.items() if name != "allOf"}
                for part in parts:
                    if isinstance(part, Mapping):
                        merged = _merged(merged, self._resolved(part, depth + 1) if depth < DEEPEST else part)
                schema = merged
            else:
                break
        return schema

    def _referred(self, reference: str) -> Mapping[str, Any]:
        """What `#/$defs/name` refers to (RFC 6901)."""
        found: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, Mapping) else None
        return found if isinstance(found, Mapping) else {}

    def _of_type(self, kind: str, schema: Mapping[str, Any], depth: int, probability: int) -> Any:
        match kind:
            case "object":
                return self._object(schema, depth, probability)
            case "array":
                return self._array(schema, depth)
            case "integer":
                return self._integer(schema)
            case "number":
                low, high = _range(schema, (self._ranges.min_number, self._ranges.max_number))
                return round(self._draw.uniform(low, high), 2) if high - low > 0.1 else low
            case "boolean":
                return self._draw.random() < 0.5
            case "null":
                return None
        return self._string(schema)

    def _object(self, schema: Mapping[str, Any], depth: int, probability: int) -> dict[str, Any]:
        required = schema.get("required")
        required = set(map(str, required)) if isinstance(required, list) else set()
        properties = schema.get("properties")
        found: dict[str, Any] = {}
        for name, part in (properties if isinstance(properties, Mapping) else {}).items():
            # Drawn for each, so that one property changes no other.
            roll = self._draw.randrange(100)
            if name in required or (depth < DEEPEST and roll < probability):
                found[name] = self._value(part, depth + 1, self._settings.optional_field)
        for name in sorted(required - found.keys()):
            found[name] = self._value(schema.get("additionalProperties"), depth + 1, self._settings.optional_field)
        return found

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        least, most = self._ranges.min_array, self._ranges.max_array
        if (minimum := _whole(schema.get("minItems"))) is not None:
            least, most = minimum, max(most, minimum)
        if (maximum := _whole(schema.get("maxItems"))) is not None:
            least, most = min(least, maximum), min(most, maximum) if minimum is None else maximum
        most = max(least, most)
        length = min(LONGEST_ARRAY, max(0, self._left), least if depth > DEEPEST else self._draw.randint(least, most))
        self._left -= length
        first = schema.get("prefixItems")
        first = first if isinstance(first, list) else []
        items = schema.get("items", {"type": "string"})
        schemas = [first[index] if index < len(first) else items for index in range(length)]
        values = [self._value(part, depth + 1, self._settings.optional_field) for part in schemas]
        return _unique(values) if schema.get("uniqueItems") is True else values

    def _integer(self, schema: Mapping[str, Any]) -> int:
        low, high = _range(schema, (self._ranges.min_integer, self._ranges.max_integer))
        step = _whole(schema.get("multipleOf")) or 1
        first, last = math.ceil(low / step), math.floor(high / step)
        return self._draw.randint(first, max(first, last)) * step

    def _string(self, schema: Mapping[str, Any]) -> str:
        if (example := FORMATS.get(str(schema.get("format")))) is not None:
            return example
        value = self._draw.choice(STRINGS)
        least = min(LONGEST_STRING, _whole(schema.get("minLength")) or 0)
        while len(value) < least:
            value += f" {self._draw.choice(STRINGS)}"
        most = _whole(schema.get("maxLength"))
        return value if most is None else value[:most]


def _type(schema: Mapping[str, Any], draw: random.Random) -> str:
    kind = schema.get("type")
    if isinstance(kind, list) and kind:
        return str(draw.choice(kind))
    if isinstance(kind, str):
        return kind
    if "properties" in schema or "required" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "string"


def _range(schema: Mapping[str, Any], configured: tuple[float, float]) -> tuple[float, float]:
    """The schema's limits where it has any, within the configured range where both agree."""
    whole = schema.get("type") == "integer"
    low, high = configured
    least = _number(schema.get("minimum"))
    most = _number(schema.get("maximum"))
    if (above := _number(schema.get("exclusiveMinimum"))) is not None:
        least = above + (1 if whole else 0.01)
    if (below := _number(schema.get("exclusiveMaximum"))) is not None:
        most = below - (1 if whole else 0.01)
    low = low if least is None else max(low, least) if least <= high else least
    high = high if most is None else min(high, most) if most >= low else most
    if low > high:  # the schema lies below the configured range, or above it
        low, high = (least, least + (configured[1] - configured[0])) if least is not None else (high, high)
        high = high if most is None else min(high, most)
    return low, max(low, high)


def _merged(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """Two schemas of which both hold."""
    merged = {**left, **right}
    for name in ("properties", "$defs"):
        if isinstance(left.get(name), Mapping) and isinstance(right.get(name), Mapping):
            merged[name] = {**left[name], **right[name]}
    if isinstance(left.get("required"), list) and isinstance(right.get("required"), list):
        merged["required"] = [*left["required"], *right["required"]]
    return merged


def _unique(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
