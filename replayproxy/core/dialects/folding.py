"""Fold a streamed answer into the JSON object that the server would have sent without streaming.

    events of a stream ──▶ folded ──▶ {"object": "chat.completion", "choices": […], "usage": …}

Chat, completions, responses and messages, by the last parts of the path. Texts, tool arguments, log probabilities and
token ids are joined in their order; of all other fields the last value that is not null stays. Pure, and nothing fails:
an event that is not an object of its dialect counts as absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from replayproxy.core.coding import decoded
from replayproxy.core.dialects.chat import CHAT
from replayproxy.core.dialects.completions import COMPLETIONS
from replayproxy.core.dialects.dialect import Json, nested, objects
from replayproxy.core.dialects.facts import parsed
from replayproxy.core.dialects.messages import MESSAGES
from replayproxy.core.dialects.responses import RESPONSES
from replayproxy.core.dialects.sse import events_of
from replayproxy.core.dialects.table import dialect_of
from replayproxy.core.headers import is_event_stream
from replayproxy.model import Response

MOST_INDEX = 10_000
"""An index of a choice or a tool call above this is not one."""

_JOINED = frozenset({"content", "reasoning", "reasoning_content", "refusal", "arguments", "text", "thinking"})
"""Fields whose pieces are parts of one text."""

_LISTED = frozenset({"token_ids", "tokens", "token_logprobs", "top_logprobs", "text_offset", "annotations"})
"""Fields whose pieces are parts of one list."""


def folded(path: str, response: Response) -> Json | None:
    """Return the answer as one object: folded if it is a stream, parsed if not; None if it is not JSON of a dialect."""
    if not is_event_stream(response.headers):
        return parsed(decoded(response)) or None
    events = [value for event in events_of([decoded(response)]) if (value := parsed(event.data.encode()))]
    if any("error" in event and "choices" not in event for event in events):
        return next(event for event in events if "error" in event)
    dialect = dialect_of(path)
    if dialect is RESPONSES:
        return _response(events)
    if dialect is MESSAGES:
        return _message(events)
    if dialect is CHAT or dialect is COMPLETIONS:
        return _completion(events, chat=dialect is CHAT)
    return None


# Chat and completions


def _completion(events: Iterable[Json], *, chat: bool) -> Json | None:
    whole: Json = {}
    choices: dict[int, Json] = {}
    for event in events:
        if not isinstance(event.get("choices"), list):
            continue
        for name, value in event.items():
            if name != "choices" and (value is not None or name not in whole):
                whole[name] = value
        for choice in objects(event["choices"]):
            number = _index(choice)
            _fold_choice(choices.setdefault(number, {"index": number}), choice, chat=chat)
    if not whole:
        return None
    whole["object"] = "chat.completion" if chat else "text_completion"
    whole["choices"] = [_finished(choices[number], chat=chat) for number in sorted(choices)]
    return whole


def _fold_choice(held: Json, choice: Mapping[str, Any], *, chat: bool) -> None:
    for name, value in choice.items():
        if name == "delta" and chat:
            _fold_delta(held.setdefault("message", {}), nested(choice, "delta"))
        elif name == "logprobs" and isinstance(value, dict):
            joined = held.get("logprobs")
            held["logprobs"] = _joined_lists(joined if isinstance(joined, dict) else {}, value)
        elif name in _JOINED and isinstance(value, str):
            held[name] = held.get(name, "") + value
        elif name in _LISTED and isinstance(value, list):
            held[name] = [*held.get(name, []), *value]
        elif name != "index" and (value is not None or name not in held):
            held[name] = value


def _fold_delta(message: Json, delta: Mapping[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            for place, call in enumerate(objects(value)):
                _fold_call(message.setdefault("tool_calls", []), call, place)
        elif name == "function_call" and isinstance(value, dict):
            _fold_text(message.setdefault("function_call", {}), value)
        else:
            _fold_text(message, {name: value})


def _fold_call(calls: list[Json], call: Mapping[str, Any], place: int) -> None:
    number = call.get("index", place)
    index = number if type(number) is int and 0 <= number < MOST_INDEX else place
    while len(calls) <= index:
        calls.append({})
    held = calls[index]
    for name, value in call.items():
        if name in ("function", "custom") and isinstance(value, dict):
            _fold_text(held.setdefault(name, {}), value)
        elif name != "index" and (value is not None or name not in held):
            held[name] = value


def _fold_text(held: Json, piece: Mapping[str, Any]) -> None:
    for name, value in piece.items():
        if isinstance(value, str) and isinstance(held.get(name), str) and name in _JOINED:
            held[name] += value
        elif value is not None or name not in held:
            held[name] = value


def _joined_lists(held: Json, piece: Mapping[str, Any]) -> Json:
    both: Json = dict(held)
    for name, value in piece.items():
        if isinstance(value, list):
            joined = both.get(name)
            both[name] = [*(joined if isinstance(joined, list) else []), *value]
        elif value is not None or name not in both:
            both[name] = value
    return both


def _finished(choice: Json, *, chat: bool) -> Json:
    """A choice with the fields that clients expect although no event had them."""
    if chat:
        message = choice.setdefault("message", {})
        message.setdefault("role", "assistant")
        message.setdefault("content", None)
        if message["content"] == "" and message.get("tool_calls"):
            message["content"] = None  # the first event of a tool call has an empty text
        if isinstance(message.get("tool_calls"), list):
            message["tool_calls"] = [call for call in message["tool_calls"] if call]
    else:
        choice.setdefault("text", "")
    choice.setdefault("finish_reason", None)
    return choice


def _index(value: Mapping[str, Any]) -> int:
    number = value.get("index")
    return number if type(number) is int and 0 <= number < MOST_INDEX else 0


# Responses


def _response(events: Iterable[Json]) -> Json | None:
    """The last event repeats the whole answer; of a stream that broke, the newest state is returned."""
    return next((found for event in reversed(list(events)) if (found := nested(event, "response"))), None)


# Messages


def _message(events: Iterable[Json]) -> Json | None:
    whole: Json | None = None
    blocks: dict[int, Json] = {}
    inputs: dict[int, list[str]] = {}
    for event in events:
        match event.get("type"):
            case "message_start":
                whole = dict(nested(event, "message"))
            case "content_block_start":
                blocks[_index(event)] = dict(nested(event, "content_block"))
            case "content_block_delta":
                number, delta = _index(event), nested(event, "delta")
                for name, value in _texts(delta):
                    if name == "partial_json":
                        inputs.setdefault(number, []).append(value)
                    else:
                        block = blocks.setdefault(number, {"type": "text"})
                        block[name] = f"{block.get(name) or ''}{value}"
            case "message_delta" if whole is not None:
                whole |= {name: value for name, value in nested(event, "delta").items() if value is not None}
                whole["usage"] = nested(whole, "usage") | nested(event, "usage")
    if whole is None:
        return None
    for number, pieces in inputs.items():
        text = "".join(pieces)
        blocks.setdefault(number, {"type": "tool_use"})["input"] = _json_of(text)
    whole["content"] = [blocks[number] for number in sorted(blocks)]
    return whole


def _texts(delta: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("text", "thinking", "signature", "partial_json"):
        if isinstance(value := delta.get(name), str):
            yield name, value


def _json_of(text: str) -> Any:
    """The arguments of a tool, which are JSON in pieces; the text itself where a stream broke within them."""
    try:
        return orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        return text
