"""`bootstrap-room`: the exact requests on both legs, and a room for each sequence of a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from replayproxy.core.pd.bootstrap_room import BOOTSTRAP_ROOM
from tests.core.pd.split_requests import CHAT, CUTS, PREFILL, TEXT, TURN, WHOLE_FIELDS, Body, parts_of, split_request

ROOM = 0x0123456789ABCDEF >> 1


def rooms(size: int) -> dict[str, Any]:
    """So many rooms at the prefill's bootstrap server."""
    return {
        "bootstrap_host": ["10.0.0.9"] * size,
        "bootstrap_port": [8998] * size,
        "bootstrap_room": [ROOM + number for number in range(size)],
    }


ONE = {"bootstrap_host": "10.0.0.9", "bootstrap_port": 8998, "bootstrap_room": ROOM}

BATCHES: list[tuple[str, str, Body, Body]] = [
    ("one prompt", TEXT, {"prompt": "a"}, ONE),
    ("token ids", TEXT, {"prompt": [1, 2]}, ONE),
    ("a list of one", TEXT, {"prompt": ["a"]}, rooms(1)),
    ("three prompts", TEXT, {"prompt": ["a", "b", "c"]}, rooms(3)),
    ("three of token ids", TEXT, {"prompt": [[1], [2], [3]]}, rooms(3)),
    ("two choices", CHAT, {"messages": TURN, "n": 2}, rooms(2)),
    ("one choice", CHAT, {"messages": TURN, "n": 1}, ONE),
    ("two choices of three prompts", TEXT, {"prompt": ["a", "b", "c"], "n": 2}, rooms(6)),
    ("n that is none", CHAT, {"messages": TURN, "n": None}, ONE),
]


def at(path: str, body: Body) -> Any:
    """A request whose prefill has its bootstrap server elsewhere."""
    return replace(split_request(path, body), prefill=replace(PREFILL, bootstrap="10.0.0.9:8998"))


@pytest.mark.parametrize(("path", "body"), [row[:2] for row in CUTS.values()], ids=CUTS.keys())
def test_both_requests(path: str, body: Body) -> None:
    """The same on both: the client's own, and the room. No cap is lowered and no stream is changed."""
    split = at(path, body)
    prefill, decode = BOOTSTRAP_ROOM.prefill_request(split), BOOTSTRAP_ROOM.decode_request(split, None)
    expected = body | (rooms(3) if body.get("n") == 3 else ONE)
    assert parts_of(prefill) == ("POST", path, WHOLE_FIELDS, expected)
    assert prefill == decode


@pytest.mark.parametrize(("path", "body", "expected"), [row[1:] for row in BATCHES], ids=[row[0] for row in BATCHES])
def test_each_sequence_of_a_batch_has_a_room(path: str, body: Body, expected: Body) -> None:
    """SGLang takes a list for a batch, and a number for one."""
    assert parts_of(BOOTSTRAP_ROOM.decode_request(at(path, body), None))[3] == body | expected


def test_rooms_stay_within_63_bits() -> None:
    """As SGLang's own, `random.randint(0, 2**63 - 1)`."""
    last = replace(at(TEXT, {"prompt": ["a", "b"]}), mint="f" * 32)
    assert parts_of(BOOTSTRAP_ROOM.decode_request(last, None))[3]["bootstrap_room"] == [2**63 - 1, 0]
