"""`/v1/messages` and `/v1/messages/count_tokens`, Anthropic's dialect: as vLLM 0.32 has it, also its errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from replayproxy.core.dialects.sse import encode
from replayproxy.simulator import reading
from replayproxy.simulator.blocks import block_step
from replayproxy.simulator.conversation import Message, echoed, prompt_text
from replayproxy.simulator.generation import REASONING, TEXT, TOOL_CALL, AnswerPart, GenerationRequest, InventedAnswer
from replayproxy.simulator.routes import ApiError, Call, Generation, Routes, json_response
from replayproxy.simulator.sequence import EngineSequence
from replayproxy.simulator.tokens import Token
from replayproxy.simulator.tools import anthropic_tool_choice, anthropic_tools
from replayproxy.simulator.transfer import RemoteKv

if TYPE_CHECKING:
    from replayproxy.model import Response
    from replayproxy.simulator.context import Context
    from replayproxy.simulator.engine import Engine

DELTAS = {
    REASONING: ("thinking_delta", "thinking"),
    TEXT: ("text_delta", "text"),
    TOOL_CALL: ("input_json_delta", "partial_json"),
}
"""Type of a delta, and the key of its text."""


def register(routes: Routes, context: Context, _: Engine) -> None:
    """Add the endpoints."""
    routes.add("POST", "/v1/messages", lambda call: _generate(call, context))
    routes.add("POST", "/v1/messages/count_tokens", lambda call: _count(call, context))


def _generate(call: Call, context: Context) -> Generation:
    body = reading.body_object(call)
    reading.required(body, "messages")
    max_tokens = reading.whole(body, "max_tokens") if reading.required(body, "max_tokens") is not None else None
    try:
        model = context.models.resolve(body.get("model"))
        reading.check_ranges(body)
        messages = _conversation(body)
        tools = anthropic_tools(body)
        prompt = context.tokenizer.encode(prompt_text(messages, tools))
        if max_tokens is not None and max_tokens < 1:
            raise reading.out_of_range("max_tokens", f"must be at least 1, got {max_tokens}.", max_tokens)
        request = GenerationRequest(
            prompt=prompt,
            echo=echoed(messages),
            limit=context.room(prompt, max_tokens, name="max_tokens"),
            max_tokens=max_tokens,
            tools=tools,
            tool_choice=anthropic_tool_choice(body, tools),
            parallel_tool_calls=not _choice(body).get("disable_parallel_tool_use"),
            reasoning_tokens=_reasoning_tokens(body, context),
            stop=reading.stop_strings(body, "stop_sequences"),
        )
    except ApiError as error:
        raise _wrapped(error) from None
    id = f"chatcmpl-{call.draws.id('request')}"
    sequences, answers = context.sequences(call, model, [request], request_id=id, choices=1, remote=RemoteKv())
    writer = MessagesWriter(
        sequences[0],
        answers[0],
        MessageOptions(
            id,
            model.name,
            call_id=f"chatcmpl-tool-{call.draws.id('tool')}",
            signature=call.draws.id("signature") + call.draws.id("signature", 1),
            has_cache=context.counts_cached,
        ),
    )
    return Generation(sequences, answers, writer, reading.flag(body, "stream"))


def _count(call: Call, context: Context) -> Response:
    body = reading.body_object(call)
    reading.required(body, "messages")
    try:
        context.models.resolve(body.get("model"))
        text = prompt_text(_conversation(body), anthropic_tools(body))
    except ApiError as error:
        raise _wrapped(error) from None
    return json_response({"input_tokens": len(context.tokenizer.encode(text))})


def _wrapped(error: ApiError) -> ApiError:
    """The same error in Anthropic's envelope, in which vLLM sends what it finds after it has read the body."""
    document = {"type": "error", "error": {"type": error.type, "message": error.message}}
    return ApiError(error.status, error.message, document=document)


def _choice(body: dict[str, Any]) -> dict[str, Any]:
    choice = body.get("tool_choice")
    return choice if isinstance(choice, dict) else {}


def _reasoning_tokens(body: dict[str, Any], context: Context) -> int:
    thinking = body.get("thinking")
    off = isinstance(thinking, dict) and thinking.get("type") == "disabled"
    return 0 if off else context.reasoning_tokens(body)


def _conversation(body: dict[str, Any]) -> list[Message]:
    """The system's text and all messages, with tool calls and results. Raises `ApiError` where there is none."""
    found = [Message("system", text)] if (text := _text(body.get("system"))) else []
    messages = body.get("messages")
    found += [
        Message(str(message.get("role", "user")), _text(message.get("content")))
        for message in (messages if isinstance(messages, list) else ())
        if isinstance(message, dict)
    ]
    if not found:
        raise ApiError(400, "messages must not be empty")
    return found


def _text(content: Any) -> str:
    if not isinstance(content, list):
        return content if isinstance(content, str) else ""
    texts = []
    for block in content:
        match block:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "tool_use", "name": name}:
                texts.append(f"[{name}({orjson.dumps(block.get('input')).decode()})]")
            case {"type": "tool_result"}:
                texts.append(_text(block.get("content")))
    return "\n".join(texts)


@dataclass(frozen=True, slots=True)
class MessageOptions:
    """What an answer says besides its content."""

    id: str
    model: str
    call_id: str
    signature: str
    has_cache: bool


class MessagesWriter:
    """The events and the body of one answer."""

    def __init__(self, sequence: EngineSequence, answer: InventedAnswer, options: MessageOptions) -> None:
        self._sequence = sequence
        self._answer = answer
        self._options = options

    # Streamed

    def begin(self) -> bytes:
        """Nothing before the first token."""
        return b""

    def first(self) -> bytes:
        """The message without content."""
        message: dict[str, Any] = {
            "id": self._options.id,
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": self._options.model,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": self._sequence.prompt_tokens, "output_tokens": 0},
        }
        return _event("message_start", message=message)

    def token(self, sequence: EngineSequence, step: tuple[int, Token | None]) -> bytes:
        """A delta; before the first one of a part its start, after the last one its end."""
        number, part, text, begins, ends = block_step(sequence, self._answer, step)
        frames = b""
        if begins:
            block = self._block(number, part, whole=False)
            frames += _event("content_block_start", content_block=block, index=number)
        if text:
            kind, key = DELTAS[part.kind]
            frames += _event("content_block_delta", delta={"type": kind, key: text}, index=number)
        if ends:
            if part.kind == REASONING:
                signature = {"type": "signature_delta", "signature": self._options.signature}
                frames += _event("content_block_delta", delta=signature, index=number)
            frames += _event("content_block_stop", index=number)
        return frames

    def end(self) -> bytes:
        """Why it stopped, and how many tokens it had."""
        reason, stop = self._stop()
        delta = {"stop_reason": reason, "stop_sequence": stop}
        return _event("message_delta", delta=delta, usage=self._usage()) + _event("message_stop")

    # Whole

    def whole(self) -> bytes:
        """The body; keys without a value are left out, as vLLM does."""
        reason, stop = self._stop()
        document = {
            "id": self._options.id,
            "type": "message",
            "role": "assistant",
            "content": [self._block(number, part, whole=True) for number, part in enumerate(self._answer.parts)],
            "model": self._options.model,
            "stop_reason": reason,
            **({} if stop is None else {"stop_sequence": stop}),
            "usage": self._usage(),
        }
        return orjson.dumps(document)

    # Both

    def _block(self, number: int, part: AnswerPart, *, whole: bool) -> dict[str, Any]:
        if part.kind == TEXT:
            return {"type": "text", "text": part.text if whole else ""}
        if part.kind == REASONING:
            signature = {"signature": self._options.signature} if whole else {}
            return {"type": "thinking", "thinking": part.text if whole else "", **signature}
        input = _object(part.text) if whole else {}
        id = f"{self._options.call_id[:-1]}{number % 16:x}"
        return {"type": "tool_use", "id": id, "name": part.name, "input": input}

    def _stop(self) -> tuple[str, str | None]:
        """`stop_reason` and `stop_sequence`."""
        answer = self._answer
        if answer.finish_reason == "length":
            return "max_tokens", None
        if answer.tool_calls:
            return "tool_use", None
        if isinstance(answer.stop_reason, str):
            return "stop_sequence", answer.stop_reason
        return "end_turn", None

    def _usage(self) -> dict[str, int]:
        sequence = self._sequence
        usage = {"input_tokens": sequence.prompt_tokens, "output_tokens": sequence.generated}
        if not self._options.has_cache:
            return usage
        # Anthropic counts cached tokens apart from the others.
        usage["input_tokens"] -= sequence.cached_tokens
        return {**usage, "cache_creation_input_tokens": 0, "cache_read_input_tokens": sequence.cached_tokens}


def _event(name: str, **document: object) -> bytes:
    return encode(orjson.dumps({"type": name, **document}), name)


def _object(text: str) -> Any:
    """Arguments that the limit has cut are no JSON: then there are none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
