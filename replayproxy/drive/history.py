"""Put the answers of the live server into the next turn of a conversation, in the place of the recorded ones.

Tool results that a client sent for recorded tool calls are bound to the live calls, by their order and names. Where the
live answer calls other tools, the recorded answer stays in the history, because no result would fit: that is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from replayproxy.core.dialects.dialect import Json, nested, objects


@dataclass(frozen=True, slots=True)
class LiveAnswer:
    """What the live server answered in an earlier turn. `position`: its place in the messages of the turns after it."""

    position: int
    answer: Json


@dataclass(frozen=True, slots=True)
class LiveHistory:
    """A body with live answers; `kept` counts recorded answers that stayed."""

    body: Json
    kept: int = 0


def with_live_answers(body: Json, answers: Sequence[LiveAnswer]) -> LiveHistory:
    """Replace the answers of earlier turns in the messages of a chat or of Anthropic's messages."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return LiveHistory(body)
    changed: list[Any] = list(messages)
    kept = 0
    for live in answers:
        if not 0 <= live.position < len(changed) or not _is_assistant(changed[live.position]):
            kept += 1
            continue
        if (found := _replaced(changed, live)) is None:
            kept += 1
        else:
            changed = found
    return LiveHistory({**body, "messages": changed}, kept)


def _is_assistant(message: object) -> bool:
    return isinstance(message, dict) and message.get("role") == "assistant"


def _replaced(messages: Sequence[Any], live: LiveAnswer) -> list[Any] | None:
    """The messages with a live answer; None where results of recorded tool calls would have no call."""
    recorded = messages[live.position]
    message = live_message(live.answer)
    if message is None:
        return None
    before, after = calls_of(recorded), calls_of(message)
    if [name for _, name in before] != [name for _, name in after]:
        return None
    ids = {old: new for (old, _), (new, _) in zip(before, after, strict=True)}
    rest = [_rebound(one, ids) for one in messages[live.position + 1 :]]
    return [*messages[: live.position], message, *rest]


def live_message(answer: Json) -> Json | None:
    """The message that a client would send back for an answer; None where there is none to send back."""
    choices = list(objects(answer.get("choices")))
    if choices:
        message = nested(choices[0], "message")
        sent: Json = {"role": "assistant", "content": message.get("content")}
        if calls := message.get("tool_calls"):
            sent["tool_calls"] = calls
        return sent if sent["content"] is not None or calls else None
    blocks = [block for block in objects(answer.get("content")) if block.get("type") in ("text", "tool_use")]
    return {"role": "assistant", "content": blocks} if blocks else None


def calls_of(message: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Id and name of each tool call of a message."""
    calls = [(call, nested(call, "function").get("name")) for call in objects(message.get("tool_calls"))]
    calls += [
        (block, block.get("name")) for block in objects(message.get("content")) if block.get("type") == "tool_use"
    ]
    return [(str(call.get("id")), str(name)) for call, name in calls]


def _rebound(message: Any, ids: Mapping[str, str]) -> Any:
    if not isinstance(message, dict):
        return message
    if isinstance(old := message.get("tool_call_id"), str) and old in ids:
        return {**message, "tool_call_id": ids[old]}
    content = message.get("content")
    if isinstance(content, list) and any(isinstance(one, dict) and one.get("tool_use_id") in ids for one in content):
        return {
            **message,
            "content": [
                {**one, "tool_use_id": ids[one["tool_use_id"]]}
                if isinstance(one, dict) and one.get("tool_use_id") in ids
                else one
                for one in content
            ],
        }
    return message


def with_live_response(body: Json, answer: Json) -> Json:
    """A request of `/v1/responses` that continues a live answer: its id, and the ids of its calls in their order."""
    calls = [item.get("call_id") for item in objects(answer.get("output")) if item.get("type") == "function_call"]
    changed = {**body, "previous_response_id": answer.get("id", body.get("previous_response_id"))}
    items = body.get("input")
    if not isinstance(items, list):
        return changed
    outputs = [item for item in objects(items) if item.get("type") == "function_call_output"]
    if len(outputs) != len(calls):
        return changed
    following = iter(calls)
    changed["input"] = [
        {**item, "call_id": next(following)}
        if isinstance(item, dict) and item.get("type") == "function_call_output"
        else item
        for item in items
    ]
    return changed
