"""Recordings of answers that carry no token ids: prompt and answer are tokenized again, by the model's own tokenizer.

Approximate: the server may have had another chat template, and may have used other tokens for the same text. Answers
with reasoning or tool calls are left out, because what the model wrote for them is not in the answer. Knows no vLLM and
no file; any tokenizer with vLLM's interface will do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from replayproxy.core.coding import body_of
from replayproxy.core.dialects.dialect import objects
from replayproxy.core.dialects.facts import parsed
from replayproxy.core.dialects.table import dialect_of
from replayproxy.model import Exchange
from replayproxy.vllm_plugin.token_recordings import TokenRecording, adapter_of, sampling_of, values_of


class TextTokenizer(Protocol):
    """The part of vLLM's tokenizers that is used here."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Return the ids of a text."""
        ...

    def apply_chat_template(self, messages: list[dict[str, Any]], *, tools: Any, tokenize: bool, **more: Any) -> str:
        """Return the text of a chat."""
        ...


@dataclass(slots=True)
class _Text:
    """What is known of a choice while its events are read."""

    parts: list[str] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    finish: str | None = None
    stop_reason: int | str | None = None
    is_more_than_text: bool = False


def tokenized(
    exchange: Exchange, tokenizer: TextTokenizer, name: str = "", served: frozenset[str] = frozenset()
) -> list[TokenRecording]:
    """Return a recording per choice whose text is all that the model wrote; none of other endpoints than chat and text.

    `served` is what it is in `recordings_of`.
    """
    kind = dialect_of(exchange.request.path).name
    if exchange.response.status != 200 or kind not in ("chat", "completions"):
        return []
    request = parsed(body_of(exchange.request))
    prompts = _chat_prompt(request, tokenizer) if kind == "chat" else _text_prompts(request.get("prompt"), tokenizer)
    count = request.get("n")
    per_prompt = count if isinstance(count, int) and count > 1 else 1
    choices = sorted(_choices(exchange).items())
    found = []
    for index, choice in choices:
        if choice.is_more_than_text or choice.finish is None or index // per_prompt >= len(prompts):
            continue
        text = "".join(choice.parts)
        if isinstance(choice.stop_reason, str) and request.get("include_stop_str_in_output") is not True:
            text += choice.stop_reason  # vLLM cuts it off, and stops again where it comes
        tokens = tokenizer.encode(text, add_special_tokens=False)
        found.append(
            TokenRecording(
                tuple(prompts[index // per_prompt]),
                tuple(tokens),
                choice.finish,
                choice.stop_reason,
                _times(choice, len(tokens)),
                lora=adapter_of(request, served),
                is_approximate=True,
                name=name if len(choices) == 1 else f"{name} choice {index}",
                sampling=sampling_of(request, index),
            )
        )
    return found


def _chat_prompt(request: dict[str, Any], tokenizer: TextTokenizer) -> list[list[int]]:
    """Return the ids of a chat, by the template of the model; none where it is not one of text."""
    messages = [_plain(message) for message in objects(request.get("messages"))]
    if not messages or any(message is None for message in messages):
        return []
    more = request.get("chat_template_kwargs")
    try:
        text = tokenizer.apply_chat_template(
            [message for message in messages if message is not None],
            tools=request.get("tools"),
            tokenize=False,
            add_generation_prompt=request.get("add_generation_prompt") is not False,
            continue_final_message=request.get("continue_final_message") is True,
            **(more if isinstance(more, dict) else {}),
        )
    except Exception:  # noqa: BLE001  a template is a program of the model's, and may raise anything for a chat it does not like
        return []
    return [tokenizer.encode(text, add_special_tokens=False)]


def _plain(message: dict[str, Any]) -> dict[str, Any] | None:
    """A message with its text as one string, as vLLM gives it to most templates; None where a part is not text."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    parts = [part.get("text") for part in objects(content)]
    texts = [part for part in parts if isinstance(part, str)]
    return message | {"content": "\n".join(texts)} if len(texts) == len(content) else None


def _text_prompts(prompt: object, tokenizer: TextTokenizer) -> list[list[int]]:
    """Return the ids of the prompts of a completion: one or several, texts or ids."""
    prompts = prompt if isinstance(prompt, list) and not all(isinstance(item, int) for item in prompt) else [prompt]
    found = []
    for one in prompts:
        if isinstance(one, str):
            found.append(tokenizer.encode(one, add_special_tokens=True))
        elif isinstance(one, list) and one and all(type(item) is int for item in one):
            found.append(one)
    return found if len(found) == len(prompts) else []


def _choices(exchange: Exchange) -> dict[int, _Text]:
    """Return the texts of an answer, by choice."""
    choices: dict[int, _Text] = {}
    for at, value in values_of(exchange.response):
        for part in objects(value.get("choices")):
            index = part.get("index")
            if not isinstance(index, int):
                continue
            choice = choices.setdefault(index, _Text())
            message = part.get("delta") or part.get("message")
            spoken = message if isinstance(message, dict) else part
            text = spoken.get("content", spoken.get("text"))
            if isinstance(text, str) and text:
                choice.parts.append(text)
                choice.times.append(at)
            others = ("tool_calls", "reasoning", "reasoning_content", "function_call", "audio")
            choice.is_more_than_text |= any(spoken.get(name) for name in others)
            if isinstance(part.get("finish_reason"), str):
                choice.finish = part["finish_reason"]
            if isinstance(part.get("stop_reason"), int | str):
                choice.stop_reason = part["stop_reason"]
    return choices


def _times(choice: _Text, tokens: int) -> tuple[int, ...]:
    """The time of each token: those of the events, evenly where there are more tokens than events, or fewer."""
    return tuple(_spread(choice.times, tokens))


def _spread(times: list[int], count: int) -> Iterator[int]:
    if times:
        for number in range(count):
            yield times[number * len(times) // count]
