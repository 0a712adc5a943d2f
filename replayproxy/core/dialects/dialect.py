"""What a dialect is: a frozen value of functions that read one JSON object, and the rule for the end of its streams.

The functions take one event or one whole body. They never fail: a field that is missing or has another type counts as
absent. What several dialects share is below; a dialect is one file with one constant and a row in `table`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

Json = dict[str, Any]


class Usage(NamedTuple):
    """Token counts; None = not stated."""

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None


@dataclass(frozen=True, slots=True)
class StreamEndRule:
    """Which event ends a stream.

    `types`: names of events, or the `type` in their JSON. `done`: also the data `[DONE]`. `promised`: each complete
    stream has such an event, so one without it is cut if only the end of the connection ends it. `label` names the end
    for people.
    """

    label: str
    types: tuple[str, ...] = ()
    done: bool = False
    promised: bool = True


def no_text(_: Json) -> list[str]:
    """Return no text."""
    return []


def no_usage(_: Json) -> Usage:
    """Return no counts."""
    return Usage()


def no_finish(_: Json) -> str | None:
    """Return no reason."""
    return None


@dataclass(frozen=True, slots=True)
class Dialect:
    """One dialect. `path`: the last parts of its endpoint's path.

    `text` returns what an event or body adds to the answer: content, reasoning, names and arguments of tool calls.
    `usage` returns its token counts, `finish` its finish reason. `usage_fields` are the top-level fields under which
    `usage` looks: an event that has none of them states no counts.
    """

    name: str
    path: tuple[str, ...]
    end: StreamEndRule
    text: Callable[[Json], list[str]] = no_text
    usage: Callable[[Json], Usage] = no_usage
    finish: Callable[[Json], str | None] = no_finish
    usage_fields: frozenset[str] = frozenset({"usage"})


# Shared by the dialects


def objects(value: object) -> Iterator[Json]:
    """Yield the objects of a list; nothing for other values."""
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())


def strings(*values: object) -> list[str]:
    """Return the strings among some values."""
    return [value for value in values if isinstance(value, str)]


def count(value: object) -> int | None:
    """Return a token count, or None. Larger numbers do not fit into a column exactly."""
    return value if type(value) is int and 0 <= value < 2**53 else None


def nested(value: object, name: str) -> Json:
    """Return an object within an object; empty if there is none."""
    inner = value.get(name) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}


def choices_finish(value: Json) -> str | None:
    """Return the first finish reason of the choices (chat and completions)."""
    for choice in objects(value.get("choices")):
        if isinstance(choice.get("finish_reason"), str):
            return str(choice["finish_reason"])
    return None


def prompt_usage(value: Json) -> Usage:
    """Return the counts of a `usage` that speaks of prompt and completion (chat and completions)."""
    usage = nested(value, "usage")
    return Usage(
        count(usage.get("prompt_tokens")),
        count(usage.get("completion_tokens")),
        count(nested(usage, "prompt_tokens_details").get("cached_tokens")),
    )


DONE = StreamEndRule("[DONE]", done=True)
"""Of chat and completions. Not `finish_reason`: each of `n` choices has one, and usage follows."""
