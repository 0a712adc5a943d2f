"""Structured outputs: what a request says its answer must look like.

`response_format` of chat, `text.format` of responses, and vLLM's own `structured_outputs` and `guided_…` fields: a JSON
schema, a list of choices, a regular expression or a grammar. Of a structural tag the answer is free text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypedDict

import orjson

from replayproxy.simulator.grammar import read_grammar
from replayproxy.simulator.language import BadLanguage, Language
from replayproxy.simulator.regex import read_regex
from replayproxy.simulator.routes import ApiError

ANY_OBJECT = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
"""What an answer is that must be some JSON object."""


class Structure(TypedDict, total=False):
    """The fields of a `GenerationRequest` that say it."""

    schema: Any
    options: tuple[str, ...]
    language: Language


def structure_of(body: Mapping[str, Any]) -> Structure:
    """What a chat or completion request says. Raises `ApiError` for a format that does not exist."""
    found = _of_format(body.get("response_format"), "response_format")
    if found:
        return found
    return _of_outputs(_outputs(body))


KINDS = ("json", "regex", "choice", "grammar", "json_object", "structural_tag")
"""The fields of `structured_outputs`, of which a request may have one."""


def _outputs(body: Mapping[str, Any]) -> dict[str, Any]:
    """The one field that is there, by its name of today. Raises `ApiError` where there are several."""
    given = body.get("structured_outputs")
    if given is not None and not isinstance(given, dict):
        raise ApiError(400, "structured_outputs must be an object", param="structured_outputs")
    older = {name: body.get(f"guided_{name}") for name in ("json", "regex", "choice", "grammar")}
    found = {name: value for name, value in (older if given is None else given).items() if name in KINDS}
    found = {name: value for name, value in found.items() if value is not None}
    if len(found) > 1:
        raise ApiError(
            400, f"You can only use one kind of structured outputs constraint but multiple are specified: {found}"
        )
    if given is not None and not found:
        raise ApiError(400, f"You must use one kind of structured outputs constraint but none are specified: {given}")
    return found


def _of_outputs(outputs: Mapping[str, Any]) -> Structure:
    match outputs:
        case {"json": str(text)}:
            try:
                return Structure(schema=orjson.loads(text))
            except orjson.JSONDecodeError as error:
                raise ApiError(400, f"structured_outputs.json is no JSON: {error}") from error
        case {"json": schema}:
            return Structure(schema=schema)
        case {"choice": [*choices]} if choices:
            return Structure(options=tuple(map(str, choices)))
        case {"choice": _}:
            raise ApiError(400, "structured_outputs.choice must be a list of at least one text")
        case {"regex": source}:
            return Structure(language=_language("regex", source, read_regex))
        case {"grammar": source}:
            return Structure(language=_language("grammar", source, read_grammar))
        case {"json_object": expected} if expected:
            return Structure(schema=ANY_OBJECT)
    return Structure()


def _language(name: str, source: Any, read: Callable[[str], Language]) -> Language:
    try:
        return read(str(source))
    except BadLanguage as error:
        raise ApiError(400, f"structured_outputs.{name} {error}", param="structured_outputs") from error


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
