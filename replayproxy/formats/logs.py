"""Rows of an export: a JSON array, one object, or one object per line; a row may stand under `body` or `data`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from replayproxy.formats.bodies import ns_of
from replayproxy.formats.source import SourceFile

TRUNCATED = "litellm_truncated"


def rows_of(source: SourceFile) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row with its place. Raises `UnreadableSource` where one is not an object."""
    beginning = source.beginning.lstrip()
    if beginning.startswith(b"{") and source.first_value is not None:
        for number, value in source.json_lines():
            yield f"line {number}", value
        return
    document = source.document()
    if isinstance(document, dict):
        listed = document.get("data")
        document = listed if isinstance(listed, list) else [document]
    if not isinstance(document, list):
        raise source.error("it is neither a list of rows nor one row")
    for number, value in enumerate(document, 1):
        if not isinstance(value, dict):
            raise source.error(f"row {number} is not an object")
        yield f"row {number}", value


def first_row(source: SourceFile) -> dict[str, Any]:
    """The first row, or an empty one; of a document that is longer than the beginning, what its text shows."""
    if isinstance(source.first_value, dict):
        return dict(source.first_value)
    try:
        value = orjson.loads(source.beginning)
    except orjson.JSONDecodeError:
        return dict.fromkeys(_names(source.beginning))
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        value = value["data"]
    row = value[0] if isinstance(value, list) and value else value
    return row if isinstance(row, dict) else {}


def _names(beginning: bytes) -> list[str]:
    """The names that seem to stand in a piece of JSON."""
    return [part.decode("utf-8", "replace") for part in beginning.split(b'"')[1::2]][:500]


def parsed_text(value: object) -> Any:
    """A value that an export may have written as JSON text."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def moment(row: Mapping[str, Any], *names: str) -> int | None:
    """The first of these times, in ns since the Unix epoch: ISO 8601, or seconds."""
    for name in names:
        value = row.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e11:
            return round(value * 1e6) * 1000
        if isinstance(value, str) and value:
            return ns_of(value)
    return None
