"""The events and the body of an answer in the dialect of `/v1/responses`.

created, in_progress, for each item: output_item.added, its parts and deltas, output_item.done; completed
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from replayproxy.core.dialects.sse import encode
from replayproxy.simulator.blocks import block_step
from replayproxy.simulator.draws import Draws
from replayproxy.simulator.generation import REASONING, TEXT, TOOL_CALL, AnswerPart, InventedAnswer
from replayproxy.simulator.logprobs import chat_logprobs
from replayproxy.simulator.sequence import EngineSequence
from replayproxy.simulator.tokens import Token

PREFIXES = {TEXT: "msg", REASONING: "rs", TOOL_CALL: "fc"}
"""How the id of an item begins."""


class ItemIds:
    """The ids of the items of one response."""

    def __init__(self, draws: Draws) -> None:
        self._draws = draws

    def item(self, number: int, kind: str) -> str:
        """The id of an item."""
        return f"{PREFIXES[kind]}_{self._draws.id('item', number)}"

    def call(self, number: int) -> str:
        """The id by which the output of a tool call names it."""
        return f"chatcmpl-tool-{self._draws.id('tool', number)}"


@dataclass(frozen=True, slots=True)
class ResponseOptions:
    """The response before anything is generated, and what the request wants to see of the answer."""

    document: dict[str, Any]
    top_logprobs: int | None = None
    """None: no log probabilities."""
    ticket: dict[str, Any] | None = None
    """`kv_transfer_params` of a prefill."""


class ResponsesWriter:
    """Numbers its events. Made for one answer."""

    def __init__(
        self, sequence: EngineSequence, answer: InventedAnswer, options: ResponseOptions, ids: ItemIds
    ) -> None:
        self._sequence = sequence
        self._answer = answer
        self._options = options
        self._ids = ids
        self._number = 0

    # Streamed

    def begin(self) -> bytes:
        """The response is there, and nothing of its output."""
        response = self._options.document
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def first(self) -> bytes:
        """Items announce themselves."""
        return b""

    def token(self, sequence: EngineSequence, step: tuple[int, Token | None]) -> bytes:
        """A delta; before the first one of an item what announces it, after the last one what ends it."""
        number, part, text, begins, ends = block_step(sequence, self._answer, step)
        place = {"item_id": self._ids.item(number, part.kind), "output_index": number}
        frames = b""
        if begins:
            item = self._item(number, part, status="in_progress")
            frames += self._event("response.output_item.added", item=item, output_index=number)
            if part.kind != TOOL_CALL:
                frames += self._event("response.content_part.added", content_index=0, **place, part=_part(part, None))
        if text:
            frames += self._delta(part, text, sequence.generated - 1, place)
        if ends:
            frames += self._ends(number, part, place)
        return frames

    def _delta(self, part: AnswerPart, text: str, position: int, place: dict[str, Any]) -> bytes:
        if part.kind == TOOL_CALL:
            return self._event("response.function_call_arguments.delta", delta=text, **place)
        if part.kind == REASONING:
            return self._event("response.reasoning_text.delta", content_index=0, delta=text, **place)
        logprobs = self._logprobs([Token(0, text)], position, with_bytes=False) or []
        return self._event("response.output_text.delta", content_index=0, delta=text, logprobs=logprobs, **place)

    def _ends(self, number: int, part: AnswerPart, place: dict[str, Any]) -> bytes:
        if part.kind == TOOL_CALL:
            frames = self._event("response.function_call_arguments.done", arguments=part.text, **place, name=part.name)
        else:
            kind = "output_text" if part.kind == TEXT else "reasoning_text"
            more: dict[str, Any] = {"logprobs": []} if part.kind == TEXT else {}
            frames = self._event(f"response.{kind}.done", content_index=0, **place, **more, text=part.text)
            done = _part(part, self._part_logprobs(part), text=part.text)
            frames += self._event("response.content_part.done", content_index=0, **place, part=done)
        item = self._item(number, part, status="completed")
        return frames + self._event("response.output_item.done", item=item, output_index=number)

    def end(self) -> bytes:
        """The whole response."""
        return self._event("response.completed", response=self._completed(streamed=True))

    def _event(self, event: str, **document: object) -> bytes:
        """An event with the next number. Keys are sorted, as in vLLM; a `name` is its last one."""
        numbered = {**document, "sequence_number": self._number, "type": event}
        self._number += 1
        keys = sorted(numbered, key=lambda key: (key == "name", key))
        return encode(orjson.dumps({key: numbered[key] for key in keys}), event)

    # Whole

    def whole(self) -> bytes:
        """The body."""
        return orjson.dumps(self._completed(streamed=False))

    # Both

    def _completed(self, *, streamed: bool) -> dict[str, Any]:
        cut = self._answer.finish_reason == "length"
        # vLLM leaves the status of a reasoning item null in an answer that is not streamed.
        output = [
            self._item(number, part, status=None if part.kind == REASONING and not streamed else "completed")
            for number, part in enumerate(self._answer.parts)
        ]
        return {
            **self._options.document,
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": output,
            "status": "incomplete" if cut else "completed",
            "usage": self._usage(),
            "kv_transfer_params": self._options.ticket,
        }

    def _item(self, number: int, part: AnswerPart, *, status: str | None) -> dict[str, Any]:
        id, done = self._ids.item(number, part.kind), status != "in_progress"
        if part.kind == TOOL_CALL:
            return {
                "arguments": part.text if done else "",
                "call_id": self._ids.call(number),
                "name": part.name,
                "type": "function_call",
                "id": id,
                "async": None,
                "caller": None,
                "namespace": None,
                "status": status,
            }
        content = [_part(part, self._part_logprobs(part), text=part.text)] if done else []
        if part.kind == REASONING:
            return {
                "id": id,
                "summary": [],
                "type": "reasoning",
                "content": content or None,
                "encrypted_content": None,
                "status": status,
            }
        return {"id": id, "content": content, "role": "assistant", "status": status, "type": "message", "phase": None}

    def _part_logprobs(self, part: AnswerPart) -> list[dict[str, Any]] | None:
        if part.kind != TEXT:
            return None
        position = self._answer.reasoning_tokens
        return self._logprobs([token for token in part.tokens if token.text], position, with_bytes=True)

    def _logprobs(self, tokens: list[Token], position: int, *, with_bytes: bool) -> list[dict[str, Any]] | None:
        if self._options.top_logprobs is None:
            return None
        content = chat_logprobs(tokens, position, self._options.top_logprobs)["content"]
        return [_entry(entry, with_bytes=with_bytes) for entry in content]

    def _usage(self) -> dict[str, Any]:
        sequence = self._sequence
        return {
            "input_tokens": sequence.prompt_tokens,
            "input_tokens_details": {
                "cached_tokens": sequence.cached_tokens,
                "cache_write_tokens": 0,
                "input_tokens_per_turn": [],
                "cached_tokens_per_turn": [],
            },
            "output_tokens": sequence.generated,
            "output_tokens_details": {
                "reasoning_tokens": self._answer.reasoning_tokens,
                "tool_output_tokens": 0,
                "output_tokens_per_turn": [],
                "tool_output_tokens_per_turn": [],
            },
            "total_tokens": sequence.prompt_tokens + sequence.generated,
        }


def _part(part: AnswerPart, logprobs: list[dict[str, Any]] | None, *, text: str | None = None) -> dict[str, Any]:
    """A part of an item; without a text it is the one that announces it."""
    if part.kind == REASONING:
        return {"text": text or "", "type": "reasoning_text"}
    return {
        "annotations": [],
        "text": text or "",
        "type": "output_text",
        "logprobs": [] if text is None else logprobs,
    }


def _entry(entry: dict[str, Any], *, with_bytes: bool) -> dict[str, Any]:
    """A token's entry in the order of this dialect, in whose deltas bytes are left out."""

    def one(value: dict[str, Any]) -> dict[str, Any]:
        bytes_ = {"bytes": value["bytes"]} if with_bytes else {}
        return {"token": value["token"], **bytes_, "logprob": value["logprob"]}

    return {**one(entry), "top_logprobs": [one(value) for value in entry["top_logprobs"]]}
