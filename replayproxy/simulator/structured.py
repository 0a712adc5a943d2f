"""Structured outputs: what a request says its answer must look like.

`response_format` of chat, `text.format` of responses, and vLLM's own `structured_outputs` and `guided_…` fields. A JSON
schema and a list of choices are followed; of a regular expression or a grammar the answer is free text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from replayproxy.simulator.routes import ApiError

ANY_OBJECT = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
"""What an answer is that must be some JSON object."""


class Structure(TypedDict, total=False):
    """The fields of a `GenerationRequest` that say it."""

    schema: Any
    options: tuple[str, ...]


def structure_of(body: Mapping[str, Any]) -> Structure:
    """What a chat or completion request says. Raises `ApiError` for a format that does not exist."""
    found = _of_format(body.get("response_format"), "response_format")
    if found:
        return found
    outputs = body.get("structured_outputs")
    outputs = outputs if isinstance(outputs, dict) else {}
    if (schema := outputs.get("json", body.get("guided_json"))) is not None:
        return Structure(schema=schema)
    choices = outputs.get("choice", body.get("guided_choice"))
    if isinstance(choices, list) and choices:
        return Structure(options=tuple(map(str, choices)))
    return Structure(schema=ANY_OBJECT) if outputs.get("json_object") else Structure()


def structure_of_responses(body: Mapping[str, Any]) -> Structure:
    """What a responses request says."""
    text = body.get("text")
    return _of_format(text.get("format") if isinstance(text, dict) else None, "text.format")


def _of_format(format: Any, name: str) -> Structure:
    if not isinstance(format, dict):
        return Structure()
    match format.get("type"):
        case "json_schema":
            nested = format.get("json_schema")
            holder = nested if isinstance(nested, dict) else format
            schema = holder.get("schema")
            if not isinstance(schema, dict):
                raise ApiError(400, f"{name} of type json_schema has no schema", param=name)
            return Structure(schema=schema)
        case "json_object":
            return Structure(schema=ANY_OBJECT)
        case "text" | None:
            return Structure()
        case "structural_tag":
            return Structure()
    raise ApiError(
        400, f"{name} of type {format.get('type')!r} does not exist: give text, json_object or json_schema", param=name
    )
