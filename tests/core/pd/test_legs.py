"""The steps of splitting a request are the same in another process, where the body is parsed again."""

from __future__ import annotations

import pickle  # noqa: TID251  as between two processes of ours
from dataclasses import replace
from typing import TypeVar, cast

import orjson
import pytest

from replayproxy.core.identity import canonical
from replayproxy.core.pd import PROTOCOLS, PrefillFailed, ProtocolOptions, protocol
from replayproxy.core.pd.legs import decode_leg, outline_alone, outline_of, prefill_leg, releasing_leg, ticket_in
from replayproxy.model import Request, Response, Timeline
from tests.core.pd.split_requests import CHAT, TEXT, TURN, split_request
from tests.core.pd.test_nixl import TICKET

T = TypeVar("T")

BATCH = Request("POST", TEXT, (), b'{"prompt":["a","b"]}')


def copied(value: T) -> T:
    """Through a pickle."""
    return cast("T", pickle.loads(pickle.dumps(value)))  # noqa: S301  our own


@pytest.mark.parametrize("options", [ProtocolOptions(), ProtocolOptions("two", "url")], ids=["default", "other"])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_each_leg_is_the_same_there(name: str, options: ProtocolOptions) -> None:
    """Whether the body was parsed before or not; a protocol crosses the pipe with its options."""
    chosen = protocol(name, options)
    split = split_request(CHAT, b'{"model":"m","prompt":"hi","max_tokens":64,"big":1180591620717411303424}')
    far, without_body = copied(chosen), copied(replace(split, body={}))
    assert prefill_leg(far, without_body) == chosen.prefill_request(split)
    assert decode_leg(far, without_body, TICKET) == chosen.decode_request(split, TICKET)
    assert orjson.loads(releasing_leg(far, without_body, TICKET).body)["max_tokens"] == 1


@pytest.mark.parametrize("name", PROTOCOLS)
def test_where_the_decode_keeps_the_body_nothing_is_parsed_for_it(name: str) -> None:
    """What a protocol says of itself is so."""
    chosen = protocol(name, ProtocolOptions())
    split = split_request(CHAT, {"model": "m", "messages": TURN})
    assert (chosen.decode_request(split, TICKET).body is split.request.body) is chosen.keeps_decode_body


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_batch_is_split_where_the_protocol_takes_it(name: str) -> None:
    """Else it goes to a decode server alone, and is counted."""
    chosen = protocol(name, ProtocolOptions())
    outline = outline_of(chosen, BATCH)
    assert (outline.is_split, outline.unsplit) == (chosen.takes_batches, not chosen.takes_batches)
    assert outline_alone(chosen, BATCH) == replace(outline, body={})


def test_a_body_of_too_many_values_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes to a decode server alone, and is counted; one to another endpoint is nobody's generation."""
    monkeypatch.setattr(canonical, "MOST_VALUES", 1000)
    body = b'{"prompt":"a","x":[' + b"1," * 1000 + b"1]}"
    chosen = protocol("plain", ProtocolOptions())
    for path, unsplit in ((CHAT, True), (TEXT, True), ("/v1/files", False)):
        outline = outline_of(chosen, Request("POST", path, (), body))
        assert (outline.is_split, outline.unsplit) == (False, unsplit)
    text = Request("POST", TEXT, (), b'{"prompt":"' + b",[:" * 1000 + b'"}')
    assert outline_of(chosen, text).is_split


def test_a_ticket_is_found_or_missed_there_too() -> None:
    """The error is the same."""
    nixl = copied(protocol("nixl", ProtocolOptions()))

    def answer(body: object) -> Response:
        content = orjson.dumps(body)
        return Response(200, (), content, (len(content),), Timeline(0, (0,), 0))

    assert ticket_in(nixl, answer({"kv_transfer_params": TICKET})) == TICKET
    with pytest.raises(PrefillFailed) as failed:
        ticket_in(nixl, answer({}))
    assert str(copied(failed.value)) == str(failed.value)
    assert type(copied(failed.value)) is PrefillFailed
