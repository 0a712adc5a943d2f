"""Tests of `simulator/structured`: the fields that say what an answer must look like."""

from __future__ import annotations

from typing import Any

import pytest

from replayproxy.simulator.routes import ApiError
from replayproxy.simulator.structured import ANY_OBJECT, structure_of, structure_of_responses

SCHEMA = {"type": "object"}


@pytest.mark.parametrize(
    ("body", "structure"),
    [
        ({}, {}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"schema": ANY_OBJECT}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}},
            {"schema": SCHEMA},
        ),
        ({"structured_outputs": {"json": SCHEMA}}, {"schema": SCHEMA}),
        ({"guided_json": SCHEMA}, {"schema": SCHEMA}),
        ({"structured_outputs": {"choice": ["a", "b"]}}, {"options": ("a", "b")}),
        ({"guided_choice": ["a"]}, {"options": ("a",)}),
        ({"structured_outputs": {"json_object": True}}, {"schema": ANY_OBJECT}),
        ({"structured_outputs": {"regex": "a+"}}, {}),
    ],
)
def test_what_is_read(body: dict[str, Any], structure: dict[str, Any]) -> None:
    """OpenAI's format, vLLM's fields, and those of older versions."""
    assert structure_of(body) == structure


def test_responses_have_it_elsewhere() -> None:
    """Flat, below `text`."""
    body = {"text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}}}
    assert structure_of_responses(body) == {"schema": SCHEMA}


@pytest.mark.parametrize(
    ("format", "message"),
    [({"type": "xml"}, "response_format of type 'xml' does not exist"), ({"type": "json_schema"}, "has no schema")],
)
def test_a_format_that_does_not_exist_is_refused(format: dict[str, Any], message: str) -> None:
    """With what to give instead."""
    with pytest.raises(ApiError, match=message):
        structure_of({"response_format": format})
