"""What benchmarks want of a recording: when a request arrived, how long it was, to which conversation it belongs, and
which beginnings prompts share.

Lengths are those that the server counted. Where it did not, they are estimated by words and marked. Token ids are those
that the server returned (`return_token_ids` of vLLM).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from replayproxy.core.coding import body_of, decoded
from replayproxy.core.dialects.dialect import count, objects
from replayproxy.core.dialects.facts import events_at, parsed, text_of
from replayproxy.core.headers import is_event_stream
from replayproxy.formats.format import Notes, StoredExchange
from replayproxy.formats.request import generates, messages_of, prompt_ids, rendered_prompt, token_ids
from replayproxy.model import Exchange, Response

TOKENS_PER_WORD = 1.3
"""Of English text and the tokenizers of Llama and Qwen."""

BLOCK = 512
"""Tokens per prefix hash in Mooncake's traces (kvcache-ai/Mooncake, FAST25-release/README.md)."""

BYTES_PER_TOKEN = 4
"""Of a prompt whose token ids are not recorded."""

MOST_SESSIONS = 200_000
"""Conversations that are remembered: 30 MB."""

ERROR, OTHER_ENDPOINT, NOT_JSON = "an answer with an error", "a request that generates nothing", "a body without JSON"
ESTIMATED_LENGTH = "a length that the server did not count, by words"


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One request of a workload. `at`: ns since the first one. `turn` counts from 0 within a session."""

    stored: StoredExchange
    at: int
    body: dict[str, Any]
    input_length: int
    output_length: int
    is_estimated: bool
    session: str
    turn: int
    since_last_turn: int | None
    """ns since the answer to the turn before ended; None for the first one."""

    @property
    def exchange(self) -> Exchange:
        """The recorded exchange."""
        return self.stored.exchange


def work_items(recordings: Iterable[StoredExchange], notes: Notes) -> Iterator[WorkItem]:
    """The requests that generate text and were answered, by arrival. Others are counted in `notes`."""
    sessions, first = Sessions(), None
    for stored in recordings:
        row, exchange = stored
        body = parsed(body_of(exchange.request))
        if not generates(row["method"], row["path"]):
            notes.skipped[OTHER_ENDPOINT] += 1
            continue
        if not 200 <= row["status"] < 300:
            notes.skipped[ERROR] += 1
            continue
        if not body:
            notes.skipped[NOT_JSON] += 1
            continue
        first = exchange.recorded_at if first is None else first
        prompt, answer = row["prompt_tokens"], row["completion_tokens"]
        estimated = prompt is None or answer is None
        if prompt is None:
            ids = recorded_ids(exchange).prompt
            prompt = len(ids) if ids is not None else estimated_tokens(rendered_prompt(body))
        if answer is None:
            answer = estimated_tokens(text_of(exchange.response))
        if estimated:
            notes.estimated[ESTIMATED_LENGTH] += 1
        turn = sessions.turn(row["id"], body, exchange)
        yield WorkItem(stored, exchange.recorded_at - first, body, max(1, prompt), max(1, answer), estimated, *turn)


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has; at least one. Other scripts than Latin have a token per character or so."""
    words = sum(1 for _ in re.finditer(r"[^\W_]+|[^\w\s]", text))
    return max(1, round(words * TOKENS_PER_WORD), len(text.encode("utf-8", "replace")) // 8)


def limited_output(body: Mapping[str, Any]) -> int | None:
    """The most tokens that a request allows to be generated."""
    for name in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
        if (found := count(body.get(name))) is not None:
            return found
    return None


# Conversations


class Sessions:
    """Finds the conversation of a request: its messages begin with all messages of the turn before."""

    def __init__(self) -> None:
        self._of: dict[bytes, tuple[str, int, int]] = {}
        """By the digest of a request's messages: its session, its turn, and when its answer ended."""

    def turn(self, name: str, body: Mapping[str, Any], exchange: Exchange) -> tuple[str, int, int | None]:
        """The session of this request, its turn, and the ns since the turn before ended.

        A new session has the name of its first exchange.
        """
        digests = _prefix_digests(messages_of(body))
        found = next((held for digest in reversed(digests[:-1]) if (held := self._of.get(digest))), None)
        ended = exchange.recorded_at + exchange.response.timeline.end
        session, turn, since = (name, 0, None)
        if found is not None:
            session, turn, since = found[0], found[1] + 1, max(0, exchange.recorded_at - found[2])
        if digests:
            if len(self._of) >= MOST_SESSIONS:
                self._of.pop(next(iter(self._of)))
            self._of[digests[-1]] = session, turn, ended
        return session, turn, since


def _prefix_digests(messages: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """The digest of the first message, of the first two, and so on."""
    running, digests = blake2b(digest_size=16), list[bytes]()
    for message in messages:
        running.update(orjson.dumps([message.get("role"), message.get("content"), message.get("tool_calls")]))
        digests.append(running.copy().digest())
    return digests


# Token ids


@dataclass(frozen=True, slots=True)
class RecordedIds:
    """The token ids that a server returned: of the prompt, and of each choice. None or missing: not returned."""

    prompt: list[int] | None
    choices: dict[int, list[int]]
    times: dict[int, list[int]]
    """When each id of a choice came, in ns; nothing for an answer in one piece."""
    finish: dict[int, str | None]
    stop: dict[int, object]


def recorded_ids(exchange: Exchange) -> RecordedIds:
    """Read them. Also finish reasons of choices whose ids were not returned."""
    found = RecordedIds(None, {}, {}, {}, {})
    prompt = prompt_ids(parsed(body_of(exchange.request)))
    for at, value in _values(exchange.response):
        prompt = prompt or token_ids(value.get("prompt_token_ids"))
        for place, choice in enumerate(objects(value.get("choices"))):
            number = choice.get("index", place)
            index = number if type(number) is int else place
            prompt = prompt or token_ids(choice.get("prompt_token_ids"))
            if (ids := token_ids(choice.get("token_ids"))) is not None:
                found.choices.setdefault(index, []).extend(ids)
                if at is not None:
                    found.times.setdefault(index, []).extend([at] * len(ids))
            reason = choice.get("finish_reason")
            if isinstance(reason, str) or index not in found.finish:
                found.finish[index] = reason if isinstance(reason, str) else None
            if isinstance(stop := choice.get("stop_reason"), str | int):
                found.stop[index] = stop
    return RecordedIds(prompt, found.choices, found.times, found.finish, found.stop)


def _values(response: Response) -> Iterator[tuple[int | None, dict[str, Any]]]:
    """The JSON objects of an answer: of its events with their times, or its body."""
    if is_event_stream(response.headers):
        for at, event in events_at(response):
            yield at, parsed(event.data.encode())
    else:
        yield None, parsed(decoded(response))


# Prefix hashes


class PrefixHashes:
    """Numbers the blocks of prompts so that equal beginnings have equal numbers, in the order of their appearance.

    A block's number stands for it and for all before it, as in Mooncake's traces and vLLM's prefix cache.
    """

    def __init__(self, block: int = BLOCK) -> None:
        self._block = block
        self._numbers: dict[bytes, int] = {}

    def of_ids(self, ids: Sequence[int]) -> list[int]:
        """The numbers of the blocks of a prompt; the last block may be shorter."""
        blocks = (array("L", ids[start : start + self._block]).tobytes() for start in range(0, len(ids), self._block))
        return self._chained(blocks)

    def of_text(self, text: str, length: int) -> list[int]:
        """The numbers for a prompt of so many tokens of which only the text is known: 4 bytes count as a token."""
        content, size = text.encode("utf-8", "replace"), self._block * BYTES_PER_TOKEN
        blocks = -(-length // self._block)
        padding = b"\0%d" % length  # a text that is shorter than its tokens shares nothing behind its end
        return self._chained(content[place * size : (place + 1) * size] or padding for place in range(blocks))

    def _chained(self, blocks: Iterable[bytes]) -> list[int]:
        before, numbers = b"", list[int]()
        for block in blocks:
            before = blake2b(before + block, digest_size=16).digest()
            numbers.append(self._numbers.setdefault(before, len(self._numbers)))
        return numbers
