"""What a plan needs of one recorded exchange: when it arrived, how long it took, and what it may belong to.

Bodies are not kept: a plan of a million requests fits into memory, and each body is read shortly before it is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from replayproxy.core.coding import body_of
from replayproxy.core.dialects.dialect import nested
from replayproxy.core.dialects.facts import parsed
from replayproxy.core.dialects.folding import folded
from replayproxy.core.headers import get
from replayproxy.model import Ending, Request, Response
from replayproxy.views.conversation import REASONING, TEXT, ChatMessage, answer_messages, request_messages
from replayproxy.views.port import Browser, ExchangeFilter

SESSION_HEADERS = ("x-session-id", "x-user-id", "x-correlation-id")
"""Header fields that name a session, where a cassette was recorded with `--keep-header`."""

CONSTRAINTS = ("structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar", "regex", "ebnf")
"""Fields of a request under which only some tokens may be generated (vLLM, SGLang)."""


@dataclass(frozen=True, slots=True)
class Thread:
    """What tells to which conversation an exchange belongs.

    `key`: a name that the client gave its session. `prefixes`: digests of the first message, the first two, and so on.
    `continued`: the digest of all messages and the answer; None where there is no answer to continue.
    `response_id` and `previous_id`: those of `/v1/responses`.
    """

    key: str | None = None
    prefixes: tuple[bytes, ...] = ()
    continued: bytes | None = None
    response_id: str | None = None
    previous_id: str | None = None


@dataclass(frozen=True, slots=True)
class RecordedTurn:
    """One recorded exchange. `at`: ns since the Unix epoch; `took`: ns from the request to the end of the answer."""

    number: int
    id: str
    at: int
    took: int
    status: int = 200
    ending: str = "complete"
    client_left: bool = False
    """The client had left before the answer ended."""
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    ttft: int | None = None
    tpot: int | None = None
    thread: Thread = Thread()
    constraint: str | None = None
    """The field that allows some tokens only; then the length of the answer cannot be forced."""

    @property
    def ended(self) -> int:
        """When its answer ended, in ns since the Unix epoch."""
        return self.at + self.took

    @property
    def was_answered(self) -> bool:
        """Whether its answer was whole, with a status from 200 to 399."""
        return self.ending == "complete" and 200 <= self.status < 400


def recorded_turns(browser: Browser, chosen: ExchangeFilter) -> Iterator[RecordedTurn | None]:
    """The exchanges that meet a filter, by time; None for each whose request was not recorded to its end.

    Raises `CassetteError` where an exchange is not what was written.
    """
    for row in browser.rows(chosen):
        if row["state"] != "done" or row["request_cut"]:
            yield None
            continue
        exchange = browser.exchange(row["number"])
        yield RecordedTurn(
            number=row["number"],
            id=row["id"],
            at=exchange.recorded_at,
            took=exchange.response.timeline.end,
            status=row["status"],
            ending=row["ending"] or "",
            client_left=exchange.response.ending is Ending.CLIENT_LEFT,
            prompt_tokens=row["prompt_tokens"],
            output_tokens=row["completion_tokens"],
            ttft=_ns(row["ttft_s"]),
            tpot=_ns(row["tpot_s"]),
            thread=thread_of(exchange.request, exchange.response),
            constraint=constraint_of(parsed(body_of(exchange.request))),
        )


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e9)


def constraint_of(body: Mapping[str, Any]) -> str | None:
    """The field of a request that allows some tokens only, such as a JSON schema; None where there is none."""
    if nested(body, "response_format").get("type") in ("json_object", "json_schema", "structural_tag"):
        return "response_format"
    if nested(nested(body, "text"), "format").get("type") in ("json_object", "json_schema"):
        return "text.format"
    if body.get("tool_choice") == "required" or isinstance(body.get("tool_choice"), dict):
        return "tool_choice"
    return next((name for name in CONSTRAINTS if body.get(name) is not None), None)


# Which conversation


def thread_of(request: Request, response: Response) -> Thread:
    """What an exchange says about its conversation. Never fails: what is not there counts as absent."""
    body = parsed(body_of(request))
    digests = _digests(request_messages(request))
    answers = answer_messages(response) if 200 <= response.status < 300 else ()
    continued = None
    if digests and answers and answers[0].role == "assistant":
        continued = _digests(answers[:1], digests[-1])[0]
    answer = folded(request.path, response) if request.path.rstrip("/").endswith("/responses") else None
    return Thread(
        key=_session_key(request, body),
        prefixes=tuple(digests),
        continued=continued,
        response_id=_text((answer or {}).get("id")),
        previous_id=_text(body.get("previous_response_id")),
    )


def _session_key(request: Request, body: Mapping[str, Any]) -> str | None:
    conversation = body.get("conversation")
    values: Iterable[object] = (
        *(get(request.headers, name) for name in SESSION_HEADERS),
        nested(body, "metadata").get("session_id"),
        conversation.get("id") if isinstance(conversation, dict) else conversation,
        body.get("prompt_cache_key"),
    )
    return next((text for value in values if (text := _text(value))), None)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _digests(messages: Iterable[ChatMessage], before: bytes = b"") -> list[bytes]:
    """Of the first message, the first two, and so on. Clients drop ids of tool calls and reasoning: neither counts."""
    digests: list[bytes] = []
    for message in messages:
        parts = [
            (part.kind, part.name, part.text)
            for part in message.parts
            if part.kind != REASONING and (part.kind != TEXT or part.text)
        ]
        before = blake2b(before + orjson.dumps([message.role, parts]), digest_size=16).digest()
        digests.append(before)
    return digests
