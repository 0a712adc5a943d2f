"""Judge the hand-over of one exchange of a prefill/decode pair, from the requests and answers of both legs.

    prefill leg ── ticket ──▶ decode leg ──▶ client        findings: each a code, and a sentence with what was seen

A pair often fails without an error: the decode server computes the prefill again, or the answer is a success although
the prefill failed. The recorded legs show it. Knows no cassette and no server.

Sources: vLLM 0.32 `nixl/pull_scheduler.py` (a ticket is read once; without one decode prefills by itself), SGLang issue
33507 (success that contradicts the prefill).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from replayproxy.core import headers
from replayproxy.core.coding import body_of, decoded
from replayproxy.core.comparison.content import AnswerContent, content_of
from replayproxy.core.dialects.dialect import nested
from replayproxy.core.dialects.facts import parsed
from replayproxy.core.pd.protocol import DECODE_MARK, PREFILL_MARK, REQUEST_ID
from replayproxy.model import Ending, Exchange, Leg

CODES: Mapping[str, str] = {
    "prefill_failed": "the prefill server gave no answer, an error, or an answer without what a decode needs",
    "decode_failed": "the decode server gave no answer, an error, or broke its stream off",
    "stranded_prefill": "a prefill filled its cache and no decode took it: the blocks stay until their lease ends",
    "ticket_missing": "the prefill gave a ticket and the decode presented none: it computed the prompt again",
    "ticket_changed": "the decode presented another ticket than its prefill gave",
    "ticket_reused": "one ticket was presented twice: its blocks are freed by the first reader",
    "prompt_recomputed": "the decode computed the prompt, although a prefill had",
    "prompt_differs": "both servers counted another number of prompt tokens: they saw another prompt",
    "first_token_differs": "at temperature 0 the decode began with another token than the prefill",
    "success_contradicts": "the client got a success although a leg had failed",
    "status_swallowed": "the client got another status than the leg that answered it",
}
"""Every finding, and what it means."""

KEYS = ("remote_engine_id", "remote_block_ids", "remote_request_id")
"""Parts of a ticket that must be the same in the decode request. `--remote-host` may rewrite its host and port."""


@dataclass(frozen=True, slots=True)
class HandOverFinding:
    """One fault: a code of `CODES`, and a sentence with the facts."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class LegTimes:
    """In ns. `handover` is from the end of the prefill to the request to decode; `decode_ttft` counts from there."""

    prefill: int | None = None
    handover: int | None = None
    decode_ttft: int | None = None


@dataclass(frozen=True, slots=True)
class HandOver:
    """The judgement of one hand-over. `tickets` are the ids of the transfers that its decode requests refer to."""

    findings: tuple[HandOverFinding, ...]
    tickets: tuple[str, ...]
    times: LegTimes
    decodes_alone: bool = False
    """Whether there is a decode leg without a prefill leg, as of a request that is not split."""


def judge_hand_over(exchange: Exchange) -> HandOver:
    """Judge one exchange with legs."""
    prefills = [_Side.of(leg) for leg in exchange.legs if leg.role == "prefill"]
    decodes = [_Side.of(leg) for leg in exchange.legs if leg.role == "decode"]
    pair = _PairJudge(exchange, prefills, decodes)
    tickets = tuple(ticket for side in decodes if (ticket := side.presented_id) is not None)
    return HandOver(tuple(pair.findings()), tickets, _times(prefills, decodes), bool(decodes and not prefills))


@dataclass(frozen=True)
class _Side:
    """One leg, read."""

    leg: Leg
    body: Mapping[str, Any]
    answer: Mapping[str, Any]
    content: AnswerContent

    @classmethod
    def of(cls, leg: Leg) -> _Side:
        content = content_of(leg.response)
        answer = {} if content.is_stream else parsed(decoded(leg.response))
        return cls(leg, parsed(body_of(leg.request)), answer, content)

    @property
    def failure(self) -> str | None:
        """Return why the leg failed, or None. It has not failed if its client left."""
        response = self.leg.response
        if response.ending is Ending.CLIENT_LEFT:
            return None
        if response.status == 0 or response.ending is not Ending.COMPLETE:
            status = f" after status {response.status}" if response.status else ""
            return f"ended {response.ending.name.lower()}{status}"
        if not 200 <= response.status < 300:
            return f"status {response.status}" + (f": {self.content.error}" if self.content.error else "")
        if self.content.error:
            return f"an error within status {response.status}: {self.content.error}"
        return None

    @property
    def given(self) -> Mapping[str, Any]:
        """The ticket in the answer of a prefill."""
        return nested(self.answer, "kv_transfer_params")

    @property
    def presented(self) -> Mapping[str, Any]:
        """The ticket in the request of a decode."""
        return nested(self.body, "kv_transfer_params")

    @property
    def requests_ticket(self) -> bool:
        """Whether a prefill was asked for a ticket in its answer, and not told whom it transfers to."""
        return self.presented.get("do_remote_decode") is True and "transfer_id" not in self.presented

    @property
    def presented_id(self) -> str | None:
        """Return the id of the transfer that a decode takes over, or None, as without transfer parameters."""
        for value in (self.presented.get("remote_request_id"), self.presented.get("transfer_id")):
            if isinstance(value, str) and value:
                return value
        room = self.body.get("bootstrap_room")
        if type(room) is int:
            return f"room {room}"
        return self.addresses

    @property
    def addresses(self) -> str | None:
        """Return the request id if it contains addresses, so that it identifies a transfer."""
        own = headers.get(self.leg.request.headers, REQUEST_ID) or ""
        return own if PREFILL_MARK in own and DECODE_MARK in own else None

    @property
    def transfer(self) -> str | None:
        """Return the id of the transfer on either leg, for protocols that tell both servers at once."""
        value = self.presented.get("transfer_id")
        if isinstance(value, str) and value:
            return value
        room = self.body.get("bootstrap_room")
        return f"room {room}" if type(room) is int else self.addresses


class _PairJudge:
    def __init__(self, exchange: Exchange, prefills: list[_Side], decodes: list[_Side]) -> None:
        self._exchange = exchange
        self._prefills, self._decodes = prefills, decodes

    def findings(self) -> Iterator[HandOverFinding]:
        yield from self._failures()
        prefill = next((side for side in reversed(self._prefills) if side.failure is None), None)
        decode = self._decodes[-1] if self._decodes else None
        if prefill is not None:
            yield from self._stranded(prefill, decode)
        if prefill is not None and decode is not None:
            yield from self._tickets(prefill, decode)
            if decode.failure is None:
                yield from self._prompt(prefill, decode)
        elif self._prefills and decode is not None and decode.failure is None:
            yield HandOverFinding("prompt_recomputed", "the decode answered without a prefill that had succeeded")
        yield from self._client(decode)

    def _failures(self) -> Iterator[HandOverFinding]:
        for code, sides in (("prefill_failed", self._prefills), ("decode_failed", self._decodes)):
            for side in sides:
                if (why := side.failure) is not None:
                    yield HandOverFinding(code, f"{side.leg.upstream}: {why}")

    def _stranded(self, prefill: _Side, decode: _Side | None) -> Iterator[HandOverFinding]:
        if prefill.leg.response.ending is Ending.CLIENT_LEFT:
            return  # a prefill that is left frees its blocks at once
        if prefill.requests_ticket and not prefill.given:
            why = "its answer has no kv_transfer_params"
            yield HandOverFinding("prefill_failed", f"{prefill.leg.upstream}: {why}, although a ticket was asked for")
            return
        if decode is None:
            yield HandOverFinding("stranded_prefill", f"{prefill.leg.upstream} answered, and no decode was asked")
        elif decode.leg.response.status == 0 and decode.leg.response.ending is not Ending.CLIENT_LEFT:
            yield HandOverFinding(
                "stranded_prefill", f"{prefill.leg.upstream} answered, and {decode.leg.upstream} never did"
            )

    def _tickets(self, prefill: _Side, decode: _Side) -> Iterator[HandOverFinding]:
        if prefill.given and not decode.presented:
            yield HandOverFinding("ticket_missing", f"{decode.leg.upstream} was asked without the ticket")
            return
        for key in KEYS:
            given, presented = prefill.given.get(key), decode.presented.get(key)
            if given is not None and presented != given:
                yield HandOverFinding("ticket_changed", f"{key} was {_short(given)}, presented was {_short(presented)}")
        one, other = prefill.transfer, decode.transfer
        if one is not None and other != one:
            yield HandOverFinding("ticket_changed", f"the transfer was {one}, presented was {other or 'none'}")

    def _prompt(self, prefill: _Side, decode: _Side) -> Iterator[HandOverFinding]:
        counted = prefill.content.prompt_tokens, decode.content.prompt_tokens
        if None not in counted and counted[0] != counted[1]:
            yield HandOverFinding("prompt_differs", f"{counted[0]} tokens for the prefill, {counted[1]} for the decode")
        cached, promised = decode.content.cached_tokens, prefill.given.get("remote_prefill_cached_tokens")
        if decode.presented and cached is not None:
            # vLLM from 0.31 on reports what the prefill server had in its cache; before, the tokens that were loaded.
            if type(promised) is int and promised != cached:
                yield HandOverFinding(
                    "prompt_recomputed", f"the ticket says {promised} cached tokens, the decode reports {cached}"
                )
            elif prefill.given and promised is None and cached == 0:
                yield HandOverFinding("prompt_recomputed", "the decode reports 0 cached tokens")
        if self._is_greedy(decode):
            yield from self._first_token(prefill, decode)

    @staticmethod
    def _is_greedy(decode: _Side) -> bool:
        return decode.body.get("temperature") == 0 and decode.body.get("n", 1) == 1

    @staticmethod
    def _first_token(prefill: _Side, decode: _Side) -> Iterator[HandOverFinding]:
        for field, pieces in prefill.content.pieces.items():
            token, text = "".join(piece.text for piece in pieces), decode.content.text(field)
            if token and text and not text.startswith(token) and not token.startswith(text):
                seen = text[: len(token) + 8]
                yield HandOverFinding("first_token_differs", f"{_short(token)} from the prefill, then {_short(seen)}")

    def _client(self, decode: _Side | None) -> Iterator[HandOverFinding]:
        response = self._exchange.response
        if response.ending is Ending.CLIENT_LEFT or not 200 <= response.status < 300:
            return
        whole = response.ending is Ending.COMPLETE and content_of(response).error is None
        failed = next((side for side in reversed(self._prefills) if side.failure is not None), None)
        last_failed = bool(self._prefills) and self._prefills[-1].failure is not None
        if whole and failed is not None and last_failed:
            yield HandOverFinding("success_contradicts", f"status {response.status}, and the prefill: {failed.failure}")
        if whole and decode is not None and decode.failure is not None:
            code = "success_contradicts" if decode.leg.response.status < 300 else "status_swallowed"
            yield HandOverFinding(code, f"status {response.status}, and the decode: {decode.failure}")
        elif whole and not response.body and self._exchange.legs:
            yield HandOverFinding("status_swallowed", f"status {response.status} with no body")


def _short(value: object) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value, default=repr).decode()
    return repr(text if len(text) <= 60 else text[:59] + "…")


def _times(prefills: list[_Side], decodes: list[_Side]) -> LegTimes:
    prefill = prefills[-1].leg if prefills else None
    decode = decodes[-1] if decodes else None
    if prefill is None:
        return LegTimes()
    end = prefill.started + prefill.response.timeline.end
    if decode is None:
        return LegTimes(prefill.response.timeline.end)
    pieces = [piece.chunk for several in decode.content.pieces.values() for piece in several]
    chunks = decode.leg.response.timeline.chunks
    ttft = chunks[min(pieces)] if pieces and decode.content.is_stream else None
    return LegTimes(prefill.response.timeline.end, decode.leg.started - end, ttft)
