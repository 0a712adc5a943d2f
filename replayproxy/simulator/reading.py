"""Read the fields of a request body. Raises `ApiError` 400 where a value cannot be used, as vLLM does.

What all dialects that generate share: limits, stop strings, sampling values that have a range.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import orjson

from replayproxy.core.coding import body_of
from replayproxy.simulator.routes import ApiError, Call

RANGES = {
    "temperature": (0.0, None),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
}
"""The least and the largest value of what a sampler takes."""


def invalid(kind: str, name: str, message: str, received: Any) -> ApiError:
    """The error for a body that has not the form that it must have, in the words of vLLM's validation."""
    shown = repr(received) if isinstance(received, str | int | float | bool) else _shape(received)
    return ApiError(
        400,
        f"1 validation error:\n  {{'type': '{kind}', 'loc': 'body.{name}', 'msg': '{message}', 'input': {shown}}}",
        type="Bad Request",
        param=f"body.{name}",
    )


def _shape(value: Any) -> str:
    count = len(value) if isinstance(value, dict | list) else 0
    return f"'<{type(value).__name__} of {count} items>'"


def body_object(call: Call) -> dict[str, Any]:
    """The body, which must be a JSON object."""
    if isinstance(call.body, dict):
        return call.body
    body = body_of(call.request)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        at = f"body.{error.pos}"
        raise ApiError(
            400,
            f"1 validation error:\n  {{'type': 'json_invalid', 'loc': '{at}', 'msg': 'JSON decode error', 'input':"
            f" '<dict of 0 items>', 'ctx': {{'error': '{error.msg}'}}}}",
            type="Bad Request",
            param=at,
        ) from None
    raise ApiError(
        400,
        "1 validation error:\n  {'type': 'model_attributes_type', 'loc': 'body', 'msg': 'Input should be a valid"
        f" dictionary or object to extract fields from', 'input': {_shape(value)}}}",
        type="Bad Request",
        param="body",
    )


def required(body: Mapping[str, Any], name: str) -> Any:
    """A field that must be there."""
    if body.get(name) is None:
        raise invalid("missing", name, "Field required", body)
    return body[name]


def whole(body: Mapping[str, Any], name: str, default: int | None = None, *, least: int | None = None) -> int | None:
    """A whole number, or the default where there is none."""
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, str):
        message = "Input should be a valid integer, unable to parse string as an integer"
        raise invalid("int_parsing", name, message, value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise invalid("int_type", name, "Input should be a valid integer", value)
    if least is not None and value < least:
        raise out_of_range(name, f"must be at least {least}, got {int(value)}.", int(value))
    return int(value)


def out_of_range(name: str, rule: str, value: object) -> ApiError:
    """The error for a value that is outside its limits."""
    return ApiError(400, f"{name} {rule} (parameter={name}, value={value})", param=name)


def flag(body: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    """A truth value."""
    value = body.get(name)
    return default if value is None else bool(value)


def check_ranges(body: Mapping[str, Any]) -> None:
    """Raise `ApiError` for a sampling value that no sampler takes."""
    for name, (least, most) in RANGES.items():
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise invalid("float_type", name, "Input should be a valid number", value)
        value = float(value)
        if value < least or (most is not None and value > most):
            limits = f"non-negative, got {value}." if most is None else f"in [{least:g}, {most:g}], got {value}."
            raise out_of_range(name, f"must be {limits}", value)


def stop_strings(body: Mapping[str, Any], name: str = "stop") -> tuple[str, ...]:
    """One stop string, or several."""
    value = body.get(name)
    if isinstance(value, str):
        return (value,)
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()


def token_ids(value: Any) -> tuple[int, ...]:
    """A list of token ids; what is none is left out."""
    if not isinstance(value, list):
        return ()
    return tuple(id for id in value if isinstance(id, int) and not isinstance(id, bool))


def wants_usage(body: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether a stream ends with its usage, and whether each of its frames has it. Raises `ApiError`."""
    options = body.get("stream_options")
    if not isinstance(options, dict):
        return False, False
    if not body.get("stream"):
        raise ApiError(
            400,
            "Stream options can only be defined when `stream=True`. (parameter=stream_options)",
            param="stream_options",
        )
    usage = flag(options, "include_usage")
    return usage, usage and flag(options, "continuous_usage_stats")


def text_of_content(content: Any) -> str:
    """The text of a message: of parts those that are text, one per line."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    return "\n".join([text for text in texts if isinstance(text, str)])


class Stopping(TypedDict):
    """The fields of a `GenerationRequest` that say where an answer ends."""

    min_tokens: int
    ignore_eos: bool
    stop: tuple[str, ...]
    stop_token_ids: tuple[int, ...]
    keep_stop: bool


def stopping(body: Mapping[str, Any], max_tokens: int | None) -> Stopping:
    """Where the answer to a chat or completion request ends. Raises `ApiError`."""
    min_tokens = whole(body, "min_tokens", 0, least=0) or 0
    if max_tokens is not None and min_tokens > max_tokens:
        message = f"min_tokens must be less than or equal to max_tokens={max_tokens}, got {min_tokens}."
        raise ApiError(400, message)
    return Stopping(
        min_tokens=min_tokens,
        ignore_eos=flag(body, "ignore_eos"),
        stop=stop_strings(body),
        stop_token_ids=token_ids(body.get("stop_token_ids")),
        keep_stop=flag(body, "include_stop_str_in_output"),
    )
