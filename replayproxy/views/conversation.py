"""A request and an answer as messages: who speaks, and in which parts (text, reasoning, tool calls, images).

    request body ──▶ request_messages ──▶ ChatMessage(role, MessagePart, MessagePart, …)
    answer body or event stream ──▶ answer_messages ──▶ one ChatMessage per choice

Reads OpenAI's chat, completions and responses, and Anthropic's messages. Nothing fails: a field that is missing or has
another type counts as absent, and what no dialect has becomes a part of the kind `other` with its JSON. Recorded text
is returned as it is; whoever shows it makes control characters visible.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from replayproxy.core.coding import body_of, decoded, decoded_chunks
from replayproxy.core.dialects.dialect import nested, objects, strings
from replayproxy.core.dialects.facts import parsed
from replayproxy.core.dialects.sse import Decoder
from replayproxy.core.headers import is_event_stream
from replayproxy.model import Request, Response

TEXT, REASONING, TOOL_CALL, TOOL_RESULT = "text", "reasoning", "tool call", "tool result"
IMAGE, REFUSAL, ERROR, OTHER = "image", "refusal", "error", "other"

MOST_IDS = 64
"""Token ids of a prompt that are shown."""


@dataclass(frozen=True, slots=True)
class MessagePart:
    """One part of a message. `name` and `id` are those of a tool or its call; `text` holds the arguments or result."""

    kind: str
    text: str
    name: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message. `finish` is the finish reason of an answer's choice, whose index is `choice`."""

    role: str
    parts: tuple[MessagePart, ...]
    choice: int = 0
    finish: str = ""

    @property
    def text(self) -> str:
        """Its plain text, without reasoning and tools."""
        return "".join(part.text for part in self.parts if part.kind == TEXT)


# Requests


def request_messages(request: Request) -> tuple[ChatMessage, ...]:
    """The messages of a request, in their order; none if its body is not a request to a model."""
    body = parsed(body_of(request))
    found = [
        ChatMessage("system", tuple(_content(body[field]))) for field in ("system", "instructions") if body.get(field)
    ]
    found += [_message(value) for value in objects(body.get("messages"))]
    if "prompt" in body and "messages" not in body:
        found += [ChatMessage("prompt", (part,)) for part in _prompts(body["prompt"])]
    if "input" in body and "messages" not in body:
        found += _inputs(body["input"])
    return tuple(found)


def request_tools(request: Request) -> tuple[MessagePart, ...]:
    """The tools that a request offers: name, and the JSON of what they take."""
    tools = objects(parsed(body_of(request)).get("tools"))
    return tuple(MessagePart("tool", _json(tool), _tool_name(tool)) for tool in tools)


def _tool_name(tool: Mapping[str, Any]) -> str:
    return _text(nested(tool, "function").get("name") or tool.get("name") or tool.get("type"))


def _message(value: Mapping[str, Any]) -> ChatMessage:
    """A message of chat or of Anthropic's messages."""
    role = _text(value.get("role")) or "?"
    parts = [MessagePart(REASONING, text) for text in strings(value.get("reasoning") or value.get("reasoning_content"))]
    content = list(_content(value.get("content")))
    if role == "tool":
        joined = "".join(part.text for part in content)
        content = [MessagePart(TOOL_RESULT, joined, _text(value.get("name")), _text(value.get("tool_call_id")))]
    parts += content
    parts += [MessagePart(REFUSAL, text) for text in strings(value.get("refusal"))]
    parts += _tool_calls(value.get("tool_calls"))
    if function := nested(value, "function_call"):
        parts.append(MessagePart(TOOL_CALL, _text(function.get("arguments")), _text(function.get("name"))))
    return ChatMessage(role, tuple(parts))


def _tool_calls(value: object) -> Iterator[MessagePart]:
    for call in objects(value):
        function = nested(call, "function") or nested(call, "custom")
        arguments = function.get("arguments", function.get("input"))
        yield MessagePart(TOOL_CALL, _text(arguments), _text(function.get("name")), _text(call.get("id")))


def _content(value: object) -> Iterator[MessagePart]:
    """The parts of a `content`: a text, or a list of blocks."""
    if isinstance(value, str):
        yield MessagePart(TEXT, value)
        return
    for block in value if isinstance(value, list) else [] if value is None else [value]:
        yield MessagePart(TEXT, block) if isinstance(block, str) else _block(block)


def _block(block: object) -> MessagePart:
    """One block of a list of contents, in any dialect."""
    if not isinstance(block, dict):
        return MessagePart(OTHER, _json(block))
    name, id = _text(block.get("name")), _text(block.get("id") or block.get("call_id"))
    match block.get("type"):
        case "text" | "input_text" | "output_text" | "summary_text" | "reasoning_text" as kind:
            return MessagePart(REASONING if kind == "reasoning_text" else TEXT, _text(block.get("text")))
        case "thinking" | "redacted_thinking":
            return MessagePart(REASONING, _text(block.get("thinking") or block.get("data")))
        case "reasoning":
            summary = [*_content(block.get("summary")), *_content(block.get("content"))]
            return MessagePart(REASONING, "\n".join(part.text for part in summary))
        case "refusal":
            return MessagePart(REFUSAL, _text(block.get("refusal")))
        case "tool_use" | "server_tool_use":
            return MessagePart(TOOL_CALL, _json(block.get("input")), name, id)
        case "function_call" | "custom_tool_call":
            return MessagePart(TOOL_CALL, _text(block.get("arguments", block.get("input"))), name, id)
        case "tool_result":
            result = "".join(part.text for part in _content(block.get("content")))
            return MessagePart(TOOL_RESULT, result, name, _text(block.get("tool_use_id")))
        case "function_call_output" | "custom_tool_call_output":
            output = block.get("output")
            return MessagePart(TOOL_RESULT, output if isinstance(output, str) else _json(output), name, id)
        case "image" | "image_url" | "input_image" | "input_audio" | "audio_url" | "video_url" | "file" | "document":
            return MessagePart(IMAGE, _source(block), str(block["type"]))
    return MessagePart(OTHER, _json(block), _text(block.get("type")))


def _source(block: Mapping[str, Any]) -> str:
    """Where an image or file comes from; of one in the request itself, its kind and length."""
    for field in ("image_url", "audio_url", "video_url", "input_audio", "source", "file"):
        value = block.get(field)
        inner = value if isinstance(value, dict) else {}
        url = value if isinstance(value, str) else inner.get("url") or inner.get("data") or inner.get("file_data")
        if isinstance(url, str):
            head = url.partition(",")[0] if url.startswith("data:") else _text(inner.get("media_type"))
            return url if url.startswith(("http:", "https:")) else f"{head or 'data'}, {len(url)} characters"
    return _json(block)


def _prompts(value: object) -> Iterator[MessagePart]:
    """The prompts of `/completions`: texts, or lists of token ids."""
    if isinstance(value, list) and not all(type(part) is int for part in value):
        for part in value:
            yield from _prompts(part)
    elif isinstance(value, list):
        more = f" … {len(value) - MOST_IDS} more" if len(value) > MOST_IDS else ""
        ids = " ".join(map(str, value[:MOST_IDS]))
        yield MessagePart(TEXT, f"{ids}{more}", f"{len(value)} token ids")
    else:
        yield MessagePart(TEXT, value if isinstance(value, str) else _json(value))


def _inputs(value: object) -> Iterator[ChatMessage]:
    """The `input` of `/responses` and of `/embeddings`."""
    if isinstance(value, str):
        yield ChatMessage("user", (MessagePart(TEXT, value),))
        return
    for item in value if isinstance(value, list) else []:
        if isinstance(item, dict) and "role" in item:
            yield _message(item)
        elif isinstance(item, dict):
            part = _block(item)
            yield ChatMessage("tool" if part.kind == TOOL_RESULT else "assistant", (part,))
        elif isinstance(item, str):
            yield ChatMessage("input", (MessagePart(TEXT, item),))


# Answers


def answer_messages(response: Response) -> tuple[ChatMessage, ...]:
    """One message per choice of an answer, streamed or not; none if it is not the answer of a model."""
    if not is_event_stream(response.headers):
        return tuple(_whole(parsed(decoded(response))))
    decoder, streamed = Decoder(), _Streamed()
    for data in decoded_chunks(response):
        for event in decoder.feed(data):
            streamed.add(parsed(event.data.encode()))
    return streamed.messages()


def _whole(body: Mapping[str, Any]) -> Iterator[ChatMessage]:
    """The messages of an answer in one JSON object."""
    if error := body.get("error"):
        text = nested(body, "error").get("message")
        yield ChatMessage("error", (MessagePart(ERROR, text if isinstance(text, str) else _json(error)),))
    for place, choice in enumerate(objects(body.get("choices"))):
        index, finish = choice.get("index", place), _text(choice.get("finish_reason"))
        if isinstance(choice.get("text"), str):
            message = ChatMessage("assistant", (MessagePart(TEXT, choice["text"]),))
        else:
            message = _message({"role": "assistant", **nested(choice, "message")})
        yield replace(message, choice=index if type(index) is int else place, finish=finish)
    if body.get("type") == "message" and isinstance(body.get("content"), list):
        parts = tuple(_content(body["content"]))
        yield ChatMessage(_text(body.get("role")) or "assistant", parts, finish=_text(body.get("stop_reason")))
    if body.get("object") == "response":
        yield ChatMessage("assistant", tuple(_outputs(body.get("output"))), finish=_text(body.get("status")))


def _outputs(items: object) -> Iterator[MessagePart]:
    """The parts of the `output` of `/responses`."""
    for item in objects(items):
        if item.get("type") == "message":
            yield from _content(item.get("content"))
        else:
            yield _block(item)


_DELTAS = {
    "response.output_text.delta": TEXT,
    "response.refusal.delta": REFUSAL,
    "response.reasoning_text.delta": REASONING,
    "response.reasoning_summary_text.delta": REASONING,
    "response.function_call_arguments.delta": TOOL_CALL,
    "response.custom_tool_call_input.delta": TOOL_CALL,
}

_Place = tuple[int, str, int] | tuple[int, str]
"""What tells one part of a stream from another: choice, kind, and an index of the dialect."""


class _Streamed:
    """Puts the deltas of a stream together, in the order in which their parts began."""

    def __init__(self) -> None:
        self._parts: dict[_Place, tuple[MessagePart, list[str]]] = {}
        self._finish: dict[int, str] = {}
        self._whole: list[ChatMessage] = []

    def add(self, event: Mapping[str, Any]) -> None:
        """Read one event."""
        for choice in objects(event.get("choices")):
            self._choice(choice)
        kind = _text(event.get("type"))
        if event.get("error") and "choices" not in event:
            self._whole += _whole(event)
        elif kind == "content_block_start":
            part = _block(event.get("content_block"))
            text = "" if part.kind == TOOL_CALL else part.text  # its input comes in deltas
            self._add((0, "block", _number(event.get("index"))), replace(part, text=""), text)
        elif kind == "content_block_delta":
            self._block_delta(event)
        elif kind == "message_delta" and (reason := _text(nested(event, "delta").get("stop_reason"))):
            self._finish[0] = reason
        elif kind == "response.output_item.added":
            part = _block(event.get("item"))
            if part.kind == TOOL_CALL:
                self._add((0, TOOL_CALL, _number(event.get("output_index"))), replace(part, text=""), "")
        elif kind in _DELTAS:
            part = MessagePart(_DELTAS[kind], "")
            self._add((0, part.kind, _number(event.get("output_index"))), part, _text(event.get("delta")))
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            self._finish[0] = _text(nested(event, "response").get("status"))

    def messages(self) -> tuple[ChatMessage, ...]:
        """What the stream has said, one message per choice."""
        choices = {place[0] for place in self._parts} | self._finish.keys()
        found = [
            ChatMessage("assistant", self._parts_of(choice), choice, self._finish.get(choice, ""))
            for choice in sorted(choices)
        ]
        return (*found, *self._whole)

    def _parts_of(self, choice: int) -> tuple[MessagePart, ...]:
        chosen = [(part, pieces) for place, (part, pieces) in self._parts.items() if place[0] == choice]
        joined = [replace(part, text="".join(pieces)) for part, pieces in chosen]
        return tuple(part for part in joined if part.text or part.name)

    def _add(self, place: _Place, part: MessagePart, text: str) -> None:
        held = self._parts.setdefault(place, (part, []))
        held[1].append(text)

    def _choice(self, choice: Mapping[str, Any]) -> None:
        number = _number(choice.get("index"))
        if reason := _text(choice.get("finish_reason")):
            self._finish[number] = reason
        delta = nested(choice, "delta")
        for kind, value in (
            (REASONING, delta.get("reasoning") or delta.get("reasoning_content")),
            (TEXT, delta.get("content", choice.get("text"))),
            (REFUSAL, delta.get("refusal")),
        ):
            if isinstance(value, str):
                self._add((number, kind), MessagePart(kind, ""), value)
        for call in objects(delta.get("tool_calls")):
            part = next(iter(_tool_calls([call])))
            self._add((number, TOOL_CALL, _number(call.get("index"))), replace(part, text=""), part.text)

    def _block_delta(self, event: Mapping[str, Any]) -> None:
        delta = nested(event, "delta")
        for kind, field in ((TEXT, "text"), (REASONING, "thinking"), (TOOL_CALL, "partial_json")):
            if isinstance(delta.get(field), str):
                self._add((0, "block", _number(event.get("index"))), MessagePart(kind, ""), delta[field])


# Values


def _number(value: object) -> int:
    """An index; 0 where it is missing."""
    return value if type(value) is int else 0


def _text(value: object) -> str:
    """A text as it is; nothing for null; anything else as JSON."""
    return value if isinstance(value, str) else "" if value is None else _json(value)


def _json(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # what was read may be nested too deep to be written
        return "…"


def as_data(messages: Iterable[ChatMessage]) -> list[dict[str, Any]]:
    """The messages as JSON objects."""
    return [
        {
            "role": message.role,
            "choice": message.choice,
            "finish": message.finish or None,
            "parts": [
                {"kind": part.kind, "name": part.name or None, "id": part.id or None, "text": part.text}
                for part in message.parts
            ],
        }
        for message in messages
    ]
