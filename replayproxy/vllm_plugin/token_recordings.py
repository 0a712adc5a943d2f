"""What a recorded exchange says in tokens: the prompt's ids, and the ids, logprobs and times of each choice.

An answer carries them where the request had `"return_token_ids": true` (chat and completions, streamed or not), and in
vLLM's `/inference/v1/generate`, which is also how a capture of the engine is stored. Knows no vLLM, no file and no
tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any, NamedTuple

import orjson

from replayproxy.core.coding import body_of, decoded
from replayproxy.core.dialects.dialect import nested, objects
from replayproxy.core.dialects.facts import events_at, parsed
from replayproxy.core.headers import is_event_stream
from replayproxy.model import Exchange, Response

Sampling = tuple[tuple[str, float], ...]
"""Names and values of sampling parameters, sorted."""

SAMPLING = (
    *("frequency_penalty", "min_p", "presence_penalty", "repetition_penalty"),
    *("seed", "temperature", "top_k", "top_p"),
)
"""The parameters that change an answer's words, by the names that requests and vLLM have for them."""


class TokenLogprob(NamedTuple):
    """The probability of one token at one position. `token` is its id, or its text where only that was recorded."""

    token: int | str
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenRecording:
    """One choice of one recorded answer."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    finish: str | None = None
    """`stop`, `length` and the like; None where the recording does not say."""
    stop_reason: int | str | None = None
    """The stop string or the stop token that ended it; None where the end-of-sequence token did."""
    times: tuple[int, ...] = ()
    """When each token came, in ns since the request; empty where that is not known."""
    since_arrival: bool = True
    """Whether these times count from the arrival of the request, as a client saw it, or from its first step."""
    logprobs: tuple[tuple[TokenLogprob, ...], ...] = ()
    """Per token: its own, then the most likely ones. Empty where they were not recorded."""
    lora: str | None = None
    media: tuple[str, ...] = ()
    """Hashes of images and the like within the prompt."""
    is_approximate: bool = False
    """The ids come from tokenizing the text again: the server may have used others."""
    name: str = ""
    """How people find it: the id of its exchange, and the choice where there are several."""
    sampling: Sampling = ()
    """The parameters of its request that change an answer's words, as far as the request stated them."""

    @property
    def ended_by_itself(self) -> bool:
        """Whether the model ended it with its end-of-sequence token."""
        return self.finish in ("stop", "tool_calls", "function_call") and self.stop_reason is None


@dataclass(slots=True)
class _Choice:
    """What is known of a choice while its events are read."""

    tokens: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    logprobs: list[tuple[TokenLogprob, ...]] = field(default_factory=list)
    finish: str | None = None
    stop_reason: int | str | None = None
    prompt: tuple[int, ...] | None = None


def recordings_of(exchange: Exchange, name: str = "", served: frozenset[str] = frozenset()) -> list[TokenRecording]:
    """Return a recording per choice, in their order; none where the exchange does not carry token ids.

    `served`: the names of the base model; any other model that a request names is a LoRA adapter.
    """
    response = exchange.response
    if response.status != 200:
        return []
    request = parsed(body_of(exchange.request))
    sent = _ids(request.get("token_ids"))
    choices: dict[int, _Choice] = {}
    prompts: set[tuple[int, ...]] = set() if sent is None else {sent}
    since_arrival = True
    for at, value in values_of(response):
        since_arrival = since_arrival and "step" not in value
        prompt = _ids(value.get("prompt_token_ids"))
        if prompt is not None:
            prompts.add(prompt)
        for part in objects(value.get("choices")):
            index = part.get("index")
            if isinstance(index, int):
                _read_choice(choices.setdefault(index, _Choice()), part, at)
    # vLLM names the prompt once for all choices of a chat, and with each choice of a completion: it may have several.
    prompts |= {choice.prompt for choice in choices.values() if choice.prompt is not None}
    only = next(iter(prompts)) if len(prompts) == 1 else None
    lora = adapter_of(request, served)
    features = nested(nested(request, "features"), "mm_hashes")
    media = tuple(text for hashes in features.values() if isinstance(hashes, list) for text in map(str, hashes))
    found = []
    for index, choice in sorted(choices.items()):
        prompt = choice.prompt or only
        if prompt is None or (not choice.tokens and choice.finish is None):
            continue
        found.append(
            TokenRecording(
                prompt,
                tuple(choice.tokens),
                choice.finish,
                choice.stop_reason,
                tuple(choice.times),
                since_arrival,
                tuple(choice.logprobs) if len(choice.logprobs) == len(choice.tokens) else (),
                lora,
                media,
                name=name if len(choices) == 1 else f"{name} choice {index}",
                sampling=sampling_of(request, index),
            )
        )
    return found


def adapter_of(request: dict[str, Any], served: frozenset[str]) -> str | None:
    """Return the LoRA adapter that a request names: any model but those that are `served`."""
    model = request.get("model")
    return model if served and isinstance(model, str) and model not in served else None


def sampling_of(request: dict[str, Any], index: int) -> Sampling:
    """Return what a request states; vLLM gives the n-th choice of a request the n-th seed from its own on."""
    stated = request.get("sampling_params")
    params = stated if isinstance(stated, dict) else request
    choices = params.get("n")
    nth = index % choices if isinstance(choices, int) and choices > 1 else 0
    values = ((name, params.get(name)) for name in SAMPLING)
    return tuple(
        (name, value + nth if name == "seed" else value)
        for name, value in values
        if isinstance(value, int | float) and not isinstance(value, bool)
    )


def values_of(response: Response) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the JSON objects of an answer, each with the time when it was there."""
    if is_event_stream(response.headers):
        for at, event in events_at(response):
            if event.data[:1] == "{":
                yield at, parsed(event.data.encode())
    else:
        yield response.timeline.end, parsed(decoded(response))


def _read_choice(choice: _Choice, part: dict[str, Any], at: int) -> None:
    """Add what one event, or the whole answer, says of a choice."""
    prompt = _ids(part.get("prompt_token_ids"))
    if prompt is not None:
        choice.prompt = prompt
    tokens = _ids(part.get("token_ids")) or ()
    choice.tokens += tokens
    choice.times += repeat(at, len(tokens))
    choice.logprobs += _logprobs(part.get("logprobs"))
    if isinstance(part.get("finish_reason"), str):
        choice.finish = part["finish_reason"]
    if isinstance(part.get("stop_reason"), int | str):
        choice.stop_reason = part["stop_reason"]


def _ids(value: object) -> tuple[int, ...] | None:
    """Return token ids; None where the value is not a list of them."""
    if not isinstance(value, list) or not all(type(item) is int and 0 <= item < 2**31 for item in value):
        return None
    return tuple(value)


# Logprobs


def _logprobs(value: object) -> list[tuple[TokenLogprob, ...]]:
    """Return those of each token, from the form of chat and generate, or from that of completions."""
    if not isinstance(value, dict):
        return []
    if isinstance(value.get("content"), list):
        return [tuple(_chat_position(item)) for item in objects(value["content"])]
    tokens, own, top = value.get("tokens"), value.get("token_logprobs"), value.get("top_logprobs")
    if not isinstance(tokens, list) or not isinstance(own, list):
        return []
    alternatives: Iterable[object] = chain(top if isinstance(top, list) else (), repeat(None))
    return [
        tuple(_completion_position(token, logprob, others))
        for token, logprob, others in zip(tokens, own, alternatives, strict=False)
    ]


def _chat_position(item: dict[str, Any]) -> Iterator[TokenLogprob]:
    for part in (item, *objects(item.get("top_logprobs"))):
        token, logprob = part.get("token_id", part.get("token")), part.get("logprob")
        if isinstance(token, int | str) and isinstance(logprob, int | float):
            yield TokenLogprob(token_of(token), float(logprob))


def _completion_position(token: object, logprob: object, others: object) -> Iterator[TokenLogprob]:
    if isinstance(token, str) and isinstance(logprob, int | float):
        yield TokenLogprob(token_of(token), float(logprob))
    for text, value in others.items() if isinstance(others, dict) else ():
        if isinstance(value, int | float):
            yield TokenLogprob(token_of(text), float(value))


def token_of(token: int | str) -> int | str:
    """Return the id that `return_tokens_as_token_ids` writes as `token_id:17`; anything else as it is."""
    if isinstance(token, str) and token.startswith("token_id:") and token[9:].isdecimal():
        return int(token[9:])
    return token


# Token ids in lines


def recording_of_line(line: bytes) -> TokenRecording:
    """Read one line of `replayproxy export --to token-ids`. Raises `ValueError` with what is wrong with it."""
    value = orjson.loads(line)
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    prompt, tokens = _ids(value.get("prompt_token_ids")), _ids(value.get("token_ids"))
    if prompt is None or tokens is None:
        raise ValueError("prompt_token_ids and token_ids are not both lists of token ids")
    seconds = value.get("times_s") or []
    if not isinstance(seconds, list) or not all(isinstance(at, int | float) and 0 <= at < 1e9 for at in seconds):
        raise ValueError("times_s is not a list of seconds")
    finish, stop_reason, lora = value.get("finish_reason"), value.get("stop_reason"), value.get("lora")
    hashes = value.get("mm_hashes") or []
    name, choice = value.get("exchange"), value.get("choice")
    return TokenRecording(
        prompt,
        tokens,
        finish if isinstance(finish, str) else None,
        stop_reason if isinstance(stop_reason, int | str) else None,
        tuple(round(at * 1e9) for at in seconds) if len(seconds) == len(tokens) else (),
        True,
        (),
        lora if isinstance(lora, str) else None,
        tuple(map(str, hashes)) if isinstance(hashes, list) else (),
        value.get("approximate") is True,
        f"{name if isinstance(name, str) else ''}{f' choice {choice}' if choice else ''}",
    )
