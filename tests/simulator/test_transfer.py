"""Tests of `simulator/transfer`: tickets between prefill and decode."""

from __future__ import annotations

import pytest

from replayproxy.simulator.draws import Draws
from replayproxy.simulator.generation import GenerationRequest
from replayproxy.simulator.routes import ApiError
from replayproxy.simulator.transfer import RemoteKv

DRAWS = Draws(b"key", 0)


def test_a_prefill_has_one_token_and_a_ticket() -> None:
    """With a block for each 16 tokens of the prompt; the same draws give the same ticket."""
    remote = RemoteKv.of({"kv_transfer_params": {"do_remote_decode": True, "do_remote_prefill": False}})
    assert remote.limited(GenerationRequest([1], "", 100, schema={})).limit == 1
    ticket = remote.ticket(DRAWS, 33)
    assert ticket is not None
    assert (len(ticket["remote_block_ids"]), ticket["do_remote_prefill"]) == (3, True)
    assert remote.ticket(DRAWS, 33) == ticket


def test_a_decode_takes_any_ticket() -> None:
    """Of whatever server: ids may be numbers, texts or lists."""
    remote = RemoteKv.of({"kv_transfer_params": {"do_remote_prefill": True, "remote_block_ids": [["a"]]}})
    assert (remote.decodes, remote.ticket(DRAWS, 33)) == (True, None)
    assert remote.limited(GenerationRequest([1], "", 100)).limit == 100


def test_without_parameters_nothing_is_remote() -> None:
    """And both at once is refused."""
    assert RemoteKv.of({"kv_transfer_params": None}) == RemoteKv()
    with pytest.raises(ApiError, match="exclude each other"):
        RemoteKv.of({"kv_transfer_params": {"do_remote_prefill": True, "do_remote_decode": True}})
