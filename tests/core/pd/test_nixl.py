"""`nixl`: the exact requests on both legs, for each knob; and which tickets are presented."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from replayproxy.core.pd import PrefillFailed, ProtocolOptions
from replayproxy.core.pd.nixl import MOST_TICKET, nixl
from replayproxy.model import Response, Timeline
from tests.core.pd.split_requests import CHAT, CUT_FIELDS, CUTS, TURN, WHOLE_FIELDS, Body, parts_of, split_request

SIX = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}
TWO = {"do_remote_decode": True, "do_remote_prefill": False}

TICKET: dict[str, Any] = {  # vLLM 0.32
    "do_remote_prefill": True,
    "do_remote_decode": False,
    "remote_block_ids": [[1, 2, 3]],
    "remote_engine_id": "6b2f7c1e",
    "remote_request_id": "chatcmpl-req-1-0a1b2c3d",
    "remote_host": "localhost",
    "remote_port": 5600,
    "tp_size": 1,
    "dcp_size": 1,
    "pp_size": 1,
    "remote_num_tokens": 42,
    "remote_blocks_expiry_time": None,
    "transfer_mode": "pull",
    "remote_prefill_cached_tokens": 0,
    "of_a_later_release": {"x": 1.5},
}

ROWS: dict[str, tuple[ProtocolOptions, Body, Body]] = {
    "six": (ProtocolOptions(), SIX, TICKET),
    "two": (ProtocolOptions(params="two"), TWO, TICKET),
    "remote host": (ProtocolOptions(remote_host="url"), SIX, TICKET | {"remote_host": "p1"}),
}


@pytest.mark.parametrize(("options", "expected", "presented"), ROWS.values(), ids=ROWS.keys())
@pytest.mark.parametrize(("path", "body", "cut"), CUTS.values(), ids=CUTS.keys())
def test_both_requests(
    path: str, body: Body, cut: Body, options: ProtocolOptions, expected: Body, presented: Body
) -> None:
    """Prefill is asked for a ticket with one token; decode presents it verbatim with the client's own request."""
    split = split_request(path, body)
    prefill = nixl(options).prefill_request(split)
    decode = nixl(options).decode_request(split, TICKET)
    assert parts_of(prefill) == ("POST", path, CUT_FIELDS, cut | {"kv_transfer_params": expected})
    assert parts_of(decode) == ("POST", path, WHOLE_FIELDS, body | {"kv_transfer_params": presented})
    assert decode.body.startswith(split.request.body[:-1] + b",")


def test_without_a_ticket_decode_gets_the_clients_request() -> None:
    """It prefills by itself."""
    split = split_request(CHAT, {"messages": TURN})
    assert nixl(ProtocolOptions()).decode_request(split, None).body is split.request.body


def test_a_client_that_sends_parameters_of_its_own_does_not_disturb() -> None:
    """What it says about transfers is replaced on both legs."""
    split = split_request(
        CHAT, {"messages": TURN, "kv_transfer_params": {"do_remote_prefill": True, "remote_host": "evil"}}
    )
    assert orjson.loads(nixl(ProtocolOptions()).prefill_request(split).body)["kv_transfer_params"] == SIX
    assert orjson.loads(nixl(ProtocolOptions()).decode_request(split, TICKET).body)["kv_transfer_params"] == TICKET


def answer(body: object) -> Response:
    """What a prefill said."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return Response(200, (), content, (len(content),), Timeline(0, (0,), 0))


def test_the_ticket_is_the_answers_transfer_parameters() -> None:
    """Whatever keys they have."""
    assert nixl(ProtocolOptions()).ticket_from(answer({"choices": [], "kv_transfer_params": TICKET})) == TICKET


NO_TICKET: list[tuple[str, object]] = [
    ("no JSON", b"data: {}\n\n"),
    ("a stream", b"data: [DONE]\n\n"),
    ("nothing", b""),
    ("a list", []),
    ("no parameters", {"choices": []}),
    ("null", {"kv_transfer_params": None}),
    ("empty", {"kv_transfer_params": {}}),
    ("text", {"kv_transfer_params": "xfer"}),
    ("a list of parameters", {"kv_transfer_params": [TICKET]}),
]


def test_a_ticket_has_a_bound() -> None:
    """It is encoded once more, and stored; the answer that carries it may be longer, by its log probabilities."""
    torn = TICKET | {"remote_block_ids": [1] * (MOST_TICKET // 2)}
    with pytest.raises(PrefillFailed, match="is longer than"):
        nixl(ProtocolOptions()).ticket_from(answer({"kv_transfer_params": torn}))
    long_answer = {"kv_transfer_params": TICKET, "prompt_logprobs": [1] * (MOST_TICKET // 2)}
    assert nixl(ProtocolOptions()).ticket_from(answer(long_answer)) == TICKET


TORN: list[tuple[str, str, dict[str, Any]]] = [
    ("no blocks", "remote_block_ids", TICKET | {"remote_block_ids": None}),
    ("an empty list of blocks", "remote_block_ids", TICKET | {"remote_block_ids": []}),
    ("blocks that are none", "do_remote_prefill", TICKET | {"remote_block_ids": "1,2,3"}),
    ("no engine", "remote_engine_id", TICKET | {"remote_engine_id": None}),
    ("no host", "remote_host", TICKET | {"remote_host": ""}),
    ("no port", "remote_port", {name: value for name, value in TICKET.items() if name != "remote_port"}),
    ("not for a decode", "do_remote_prefill", TICKET | {"do_remote_prefill": False}),
    ("the request's own keys", "remote_block_ids", dict(SIX)),
]


@pytest.mark.parametrize("body", [row[1] for row in NO_TICKET], ids=[row[0] for row in NO_TICKET])
def test_an_answer_without_a_ticket_is_a_failed_prefill(body: object) -> None:
    """And says what to do."""
    with pytest.raises(PrefillFailed, match=r"no ticket.*kv connector"):
        nixl(ProtocolOptions()).ticket_from(answer(body))


@pytest.mark.parametrize(("name", "ticket"), [row[1:] for row in TORN], ids=[row[0] for row in TORN])
def test_a_ticket_that_would_hang_or_end_a_decode_is_never_presented(name: str, ticket: dict[str, Any]) -> None:
    """Without blocks vLLM's engine ends; without an address the request waits for ever."""
    with pytest.raises(PrefillFailed, match=f"not whole .*{name}"):
        nixl(ProtocolOptions()).ticket_from(answer({"kv_transfer_params": ticket}))
