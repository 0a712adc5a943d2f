"""The hand-over of one exchange: each code by what both legs and the client said; a clean one has none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from replayproxy.core.pd.hand_over import CODES, judge_hand_over
from replayproxy.model import Ending, Exchange, Leg, Request, Response
from tests.recordings import JSON, said

MS = 1_000_000
TICKET = {
    "do_remote_prefill": True,
    "do_remote_decode": False,
    "remote_engine_id": "engine-1",
    "remote_block_ids": [[1, 2]],
    "remote_request_id": "cmpl-1",
    "remote_host": "p",
    "remote_port": 5600,
    "remote_prefill_cached_tokens": 4,
}
SIX = {"do_remote_decode": True, "do_remote_prefill": False, "remote_engine_id": None}


def answer(
    text: str = " the sea", *, prompt: int = 7, cached: int | None = 4, status: int = 200, **more: Any
) -> Response:
    """A chat, not streamed."""
    usage = {"prompt_tokens": prompt, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": cached}}
    choice = {"index": 0, "message": {"content": text}, "finish_reason": "stop"}
    return said([orjson.dumps({"choices": [choice], "usage": usage} | more)], status=status, headers=JSON)


ERROR = said([b'{"error":{"message":"engine died"}}'], status=500, headers=JSON)
EVENT = said([b'data: {"error":{"message":"blocks are gone"}}\n\n', b"data: [DONE]\n\n"])
SILENT = replace(said([], status=0, headers=(), ending=Ending.TIMEOUT))


def leg(role: str, response: Response, params: Any = None, started: int = 0, **more: Any) -> Leg:
    """A request to one server."""
    body: dict[str, Any] = {"model": "m", "temperature": 0} | more
    if params is not None:
        body["kv_transfer_params"] = params
    return Leg(
        role, f"http://{role}", Request("POST", "/v1/chat/completions", (), orjson.dumps(body)), response, started
    )


def prefill(response: Response | None = None, **more: Any) -> Leg:
    """One that gives a ticket."""
    return leg("prefill", response or answer(" the", kv_transfer_params=TICKET), SIX, **more)


def decode(response: Response | None = None, params: Any = TICKET, **more: Any) -> Leg:
    """One that presents it."""
    return leg("decode", response or answer(), params, started=30 * MS, **more)


def codes(*legs: Leg, client: Response | None = None) -> list[str]:
    """What is found."""
    response = client if client is not None else legs[-1].response
    found = judge_hand_over(Exchange(Request("POST", "/v1/chat/completions"), response, 1, legs))
    assert all(finding.code in CODES and finding.text for finding in found.findings)
    return [finding.code for finding in found.findings]


REWRITTEN = TICKET | {"remote_host": "10.0.0.7", "remote_port": 1}
OTHER = TICKET | {"remote_engine_id": "engine-2"}
OLD = {name: value for name, value in TICKET.items() if name != "remote_prefill_cached_tokens"}


CASES: list[tuple[str, tuple[Leg, ...], Response | None, list[str]]] = [
    ("clean", (prefill(), decode()), None, []),
    ("clean, the host rewritten", (prefill(), decode(params=REWRITTEN)), None, []),
    ("clean, streamed", (prefill(), decode(said([b'data: {"choices":[{"delta":{"content":" the"}}]}\n\n']))), None, []),
    ("prefill 500", (prefill(ERROR),), ERROR, ["prefill_failed"]),
    ("prefill silent", (prefill(SILENT),), SILENT, ["prefill_failed"]),
    ("prefill left", (prefill(replace(SILENT, ending=Ending.CLIENT_LEFT)),), SILENT, []),
    ("no ticket in the answer", (prefill(answer(" the")),), ERROR, ["prefill_failed"]),
    (
        "prefill 500, decode alone",
        (prefill(ERROR), decode(params=None)),
        None,
        ["prefill_failed", "prompt_recomputed", "success_contradicts"],
    ),
    ("prefill tried again", (prefill(ERROR), prefill(), decode()), None, ["prefill_failed"]),
    ("decode 500", (prefill(), decode(ERROR)), None, ["decode_failed"]),
    ("decode's error event", (prefill(), decode(EVENT)), None, ["decode_failed"]),
    ("decode silent", (prefill(), decode(SILENT)), None, ["decode_failed", "stranded_prefill"]),
    ("no decode", (prefill(),), SILENT, ["stranded_prefill"]),
    ("decode without the ticket", (prefill(), decode(params=None)), None, ["ticket_missing"]),
    ("another ticket", (prefill(), decode(params=OTHER)), None, ["ticket_changed"]),
    ("not loaded", (prefill(), decode(answer(cached=0))), None, ["prompt_recomputed"]),
    (
        "not loaded, an older vLLM",
        (prefill(answer(" the", kv_transfer_params=OLD)), decode(answer(cached=0), OLD)),
        None,
        ["prompt_recomputed"],
    ),
    ("another prompt", (prefill(), decode(answer(prompt=9))), None, ["prompt_differs"]),
    ("another first token", (prefill(), decode(answer(" a house"))), None, ["first_token_differs"]),
    ("another first token, sampled", (prefill(), decode(answer(" a house"), temperature=1)), None, []),
    ("an error made a success", (prefill(), decode(ERROR)), answer(), ["decode_failed", "status_swallowed"]),
    ("an error event made a success", (prefill(), decode(EVENT)), answer(), ["decode_failed", "success_contradicts"]),
    ("an empty success", (prefill(), decode()), said([], headers=JSON), ["status_swallowed"]),
    ("the client left", (prefill(), decode()), replace(answer(), ending=Ending.CLIENT_LEFT), []),
    (
        "one transfer",
        (
            leg("prefill", answer(), {"transfer_id": "xfer-1", "do_remote_decode": True}),
            leg("decode", answer(), {"transfer_id": "xfer-1"}),
        ),
        None,
        [],
    ),
    (
        "two transfers",
        (leg("prefill", answer(), {"transfer_id": "xfer-1"}), leg("decode", answer(), {"transfer_id": "xfer-2"})),
        None,
        ["ticket_changed"],
    ),
    ("one room", (leg("prefill", answer(), bootstrap_room=5), leg("decode", answer(), bootstrap_room=5)), None, []),
    (
        "two rooms",
        (leg("prefill", answer(), bootstrap_room=5), leg("decode", answer(), bootstrap_room=6)),
        None,
        ["ticket_changed"],
    ),
    ("not split", (decode(params=None),), None, []),
    ("plain", (leg("prefill", answer()), leg("decode", answer())), None, []),
]


@pytest.mark.parametrize(("name", "legs", "client", "expected"), CASES, ids=[row[0] for row in CASES])
def test_each_hand_over(name: str, legs: tuple[Leg, ...], client: Response | None, expected: list[str]) -> None:
    """Every code by name, and none where all is well."""
    assert codes(*legs, client=client) == expected, name


def test_times_of_the_legs() -> None:
    """From the end of the prefill to the request to decode, and the TTFT from there."""
    stream = said(
        [
            b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n',
            b'data: {"choices":[{"delta":{"content":" the"}}]}\n\n',
        ]
    )
    found = judge_hand_over(Exchange(Request("POST", "/"), stream, 1, (prefill(), decode(stream))))
    first = prefill().response.timeline
    assert found.times.prefill == first.end
    assert found.times.handover == 30 * MS - first.end
    assert found.times.decode_ttft == stream.timeline.chunks[1]
    assert found.tickets == ("cmpl-1",)


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b'{"kv_transfer_params":5}', b'{"bootstrap_room":"x"}'])
def test_nothing_fails(body: bytes) -> None:
    """Whatever a leg holds."""
    request = Request("POST", "/", (), body)
    legs = tuple(Leg(role, "x", request, said([body], headers=JSON)) for role in ("prefill", "decode"))
    judge_hand_over(Exchange(request, answer(), 1, legs))
