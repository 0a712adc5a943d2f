"""The shape of an answer: which JSON paths its events have, and of which types; and what changed between two shapes.

    {"choices":[{"delta":{"content":"a"}}]}  ──▶  $.choices[].delta.content: string

Three tiers: what was added harms no client that ignores what it does not know; what was removed or has another type
may. A field that is null on one side counts as neither: servers send null until they have a value. Knows no text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MOST_PATHS = 2000
"""Paths kept of one answer. A body with more is a table of names, not a protocol."""

DEEPEST = 24

OPAQUE = frozenset(
    {"top_logprobs", "prompt_logprobs", "arguments", "input", "metadata", "kv_transfer_params", "logit_bias"}
)
"""Fields whose names within are data: tokens in completions' log probabilities, what the model wrote for a tool."""

Shape = Mapping[str, frozenset[str]]
"""The types of the values at each path."""

_TYPES = {str: "string", bool: "boolean", int: "number", float: "number", type(None): "null", list: "array"}


@dataclass(frozen=True, slots=True)
class TypeChange:
    """A path whose values have other types than before."""

    path: str
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class ShapeChange:
    """What changed from the first shape to the second."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[TypeChange, ...] = ()

    @property
    def may_break_clients(self) -> bool:
        """Whether something was removed or has another type."""
        return bool(self.removed or self.changed)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def shape_of(values: Iterable[Any]) -> Shape:
    """The union of the shapes of all events of an answer."""
    found: dict[str, set[str]] = {}
    for value in values:
        _collect("$", value, found, 0)
    return {path: frozenset(types) for path, types in found.items()}


def _collect(path: str, value: Any, found: dict[str, set[str]], depth: int) -> None:
    types = found.get(path)
    if types is None:
        if len(found) >= MOST_PATHS:
            return
        types = found[path] = set()
    types.add(_TYPES.get(type(value), "object"))
    if depth >= DEEPEST:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            _collect(f"{path}.{name}", inner, found, DEEPEST if name in OPAQUE else depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _collect(f"{path}[]", inner, found, depth + 1)


def compare_shapes(first: Shape, second: Shape) -> ShapeChange:
    """What was added, removed, and changed its type. Of a part that was added or removed, its topmost path."""
    added = [path for path in second if path not in first and _counts(path, second, first)]
    removed = [path for path in first if path not in second and _counts(path, first, second)]
    changed = []
    for path in first.keys() & second.keys():
        before, after = (shape[path] - {"null"} for shape in (first, second))
        if before and after and before != after:
            changed.append(TypeChange(path, " or ".join(sorted(before)), " or ".join(sorted(after))))
    return ShapeChange(
        tuple(sorted(added)), tuple(sorted(removed)), tuple(sorted(changed, key=lambda change: change.path))
    )


def _counts(path: str, shape: Shape, other: Shape) -> bool:
    """Whether a path that only one side has says something: its parent is there on both, and has values on both."""
    if shape[path] == {"null"}:
        return False
    parent = _parent(path)
    types = other.get(parent)
    # An empty list has no items to have a shape, a null no fields.
    if types is None or types <= {"null"}:
        return False
    return not (path.endswith("[]") and "array" in types)


def _parent(path: str) -> str:
    if path.endswith("[]"):
        return path[:-2]
    return path.rpartition(".")[0]
