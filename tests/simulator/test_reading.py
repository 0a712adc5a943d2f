"""Tests of `simulator/reading`: what is read of a body, and the words in which vLLM refuses the rest."""

from __future__ import annotations

from typing import Any

import pytest

from replayproxy.model import Request
from replayproxy.simulator import reading
from replayproxy.simulator.draws import Draws
from replayproxy.simulator.routes import ApiError, Call


def call(body: bytes, parsed: Any = None) -> Call:
    """A request with a body."""
    return Call(Request("POST", "/", (), body), parsed, Draws(b"k", 0))


def test_a_body_that_is_no_object_is_refused() -> None:
    """As pydantic words it: where JSON breaks, or what it is instead."""
    with pytest.raises(ApiError, match=r"'type': 'json_invalid', 'loc': 'body\.") as caught:
        reading.body_object(call(b'{"model": "tiny", "messages": ['))
    assert (caught.value.status, caught.value.type) == (400, "Bad Request")
    with pytest.raises(ApiError, match="Input should be a valid dictionary"):
        reading.body_object(call(b"[1]", [1]))
    assert reading.body_object(call(b"", {"a": 1})) == {"a": 1}


@pytest.mark.parametrize(
    ("value", "message", "param"),
    [
        (
            "a",
            "1 validation error:\n  {'type': 'int_parsing', 'loc': 'body.n', 'msg': 'Input should be a valid integer,"
            " unable to parse string as an integer', 'input': 'a'}",
            "body.n",
        ),
        ([], "'type': 'int_type', 'loc': 'body.n'", "body.n"),
        (1.5, "'type': 'int_type', 'loc': 'body.n'", "body.n"),
        (True, "'type': 'int_type', 'loc': 'body.n'", "body.n"),
        (0, "n must be at least 1, got 0. (parameter=n, value=0)", "n"),
    ],
)
def test_a_number_that_is_none(value: object, message: str, param: str) -> None:
    """Or is too small."""
    with pytest.raises(ApiError) as caught:
        reading.whole({"n": value}, "n", least=1)
    assert message in caught.value.message
    assert caught.value.param == param


def test_numbers_and_flags() -> None:
    """A float that is whole is one; null is as if it were not there."""
    assert (reading.whole({"n": 2.0}, "n"), reading.whole({"n": None}, "n", 5), reading.whole({}, "n")) == (2, 5, None)
    assert (reading.flag({"a": 1}, "a"), reading.flag({}, "a", default=True)) == (True, True)


def test_what_is_missing_is_named() -> None:
    """With its place."""
    with pytest.raises(ApiError) as caught:
        reading.required({"model": "tiny"}, "messages")
    assert caught.value.message == (
        "1 validation error:\n  {'type': 'missing', 'loc': 'body.messages', 'msg': 'Field required', 'input':"
        " '<dict of 1 items>'}"
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"temperature": -1}, "temperature must be non-negative, got -1.0."),
        ({"top_p": 1.5}, "top_p must be in [0, 1], got 1.5."),
        ({"presence_penalty": 3}, "presence_penalty must be in [-2, 2], got 3.0."),
        ({"temperature": "hot"}, "Input should be a valid number"),
    ],
)
def test_sampling_values_have_limits(body: dict[str, Any], message: str) -> None:
    """Each its own."""
    with pytest.raises(ApiError) as caught:
        reading.check_ranges(body)
    assert message in caught.value.message
    reading.check_ranges({"temperature": 0, "top_p": 1, "min_p": None})


def test_stop_strings_and_token_ids() -> None:
    """One or several; what is none is left out."""
    assert reading.stop_strings({"stop": "a"}) == ("a",)
    assert reading.stop_strings({"stop": ["a", 1, "b"]}) == ("a", "b")
    assert reading.stop_strings({}) == ()
    assert reading.token_ids([1, "a", True, 2]) == (1, 2)
    assert reading.token_ids(None) == ()


def test_min_tokens_are_at_most_max_tokens() -> None:
    """Else there is no answer."""
    with pytest.raises(ApiError, match="min_tokens must be less than or equal to max_tokens=3, got 5"):
        reading.stopping({"min_tokens": 5}, 3)
    assert reading.stopping({"min_tokens": 5}, None)["min_tokens"] == 5


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        ({}, (False, False)),
        ({"stream": True, "stream_options": {"include_usage": True}}, (True, False)),
        ({"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}, (True, True)),
        ({"stream": True, "stream_options": {"continuous_usage_stats": True}}, (False, False)),
    ],
)
def test_usage_of_a_stream(body: dict[str, Any], usage: tuple[bool, bool]) -> None:
    """At the end, or in each frame."""
    assert reading.wants_usage(body) == usage


def test_the_text_of_a_message() -> None:
    """A text, or the parts that are one."""
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}, {"type": "text", "text": "b"}, 5]
    assert (reading.text_of_content("x"), reading.text_of_content(parts), reading.text_of_content(None)) == (
        "x", "a\nb", "",
    )  # fmt: skip
