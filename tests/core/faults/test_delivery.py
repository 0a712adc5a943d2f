"""What a client gets of an answer with a fault, chunk by chunk."""

from __future__ import annotations

import orjson
import pytest

from replayproxy.core.faults.delivery import Action, Delivery, garbage, is_truncating
from replayproxy.core.faults.grammar import parse_fault
from replayproxy.model import Headers

SSE: Headers = (("Content-Type", "text/event-stream"),)
JSON: Headers = (("Content-Type", "application/json"), ("Content-Length", "3"))


def played(text: str, chunks: int, fields: Headers = SSE) -> str:
    """An answer of so many chunks in words, up to what ends it."""
    delivery = Delivery(parse_fault(text), "draw")
    delivery.head(fields)
    words = []
    for number in range(chunks):
        action, data = delivery.step(b"%d" % number)
        if action is not Action.SEND:
            words.append(action.value)
        if not data:
            return " ".join(words)
        words.append(data.decode("latin-1") if data != b"\xff" else "noise")
    return " ".join([*words, delivery.at_end().value])


@pytest.mark.parametrize(
    ("text", "chunks", "expected"),
    [
        ("cut@0", 3, "cut"),
        ("cut@2", 3, "0 1 cut"),
        ("cut@3", 3, "0 1 2 cut"),
        ("cut@4", 3, "0 1 2 send"),
        ("cut-clean@2", 3, "0 1 end cleanly"),
        ("cut-clean@3", 3, "0 1 2 send"),
        ("reset@1", 3, "0 reset"),
        ("reset@3", 3, "0 1 2 reset"),
        ("stall@1,for=1s", 3, "0 pause 1 2 send"),
        ("stall@3,for=1s", 3, "0 1 2 pause"),
        ("garbage@1", 3, "0 noise 2 send"),
        ("garbage@3", 3, "0 1 2 send"),
    ],
)
def test_a_fault_happens_after_its_chunks(text: str, chunks: int, expected: str) -> None:
    """N chunks pass; where the answer has no more, only its end can be missing or late."""
    assert played(text, chunks) == expected


def test_a_body_with_a_length_is_whole_after_its_last_chunk() -> None:
    """Nothing is missing that a client could see, so that the fault has not happened."""
    delivery = Delivery(parse_fault("cut@1"), "")
    delivery.head(JSON)
    assert delivery.step(b"{ }") == (Action.SEND, b"{ }")
    assert delivery.at_end() is Action.SEND
    assert not delivery.has_fired


def test_a_clean_cut_takes_the_length_away() -> None:
    """Else its end would be no clean one."""
    assert Delivery(parse_fault("cut-clean@0"), "").head(JSON) == JSON[:1]
    assert Delivery(parse_fault("cut@0"), "").head(JSON) == JSON


@pytest.mark.parametrize("data", [b'data: {"choices":[]}\n\n', b'{"a":1}', b"x", b"", b"data: \n\n", b"\n\n"])
def test_garbage_is_as_long_and_neither_json_nor_utf_8(data: bytes) -> None:
    """The framing of the answer stays true, and so do the borders of its events."""
    noise = garbage(data, "draw")
    assert len(noise) == len(data)
    assert garbage(data, "draw") == noise
    if data.strip():
        with pytest.raises(UnicodeDecodeError):
            noise.decode()
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(noise.removeprefix(b"data: "))
    if data.startswith(b"data: {"):
        assert noise.startswith(b"data: \xff")
        assert noise.endswith(b"\n\n")
        assert noise.count(b"\n") == 2
        assert garbage(data, "another") != noise


@pytest.mark.parametrize(
    ("text", "truncates"),
    [("cut@0", True), ("cut-clean@1", True), ("reset@1", True), ("reset@0", False), ("stall@1", False)],
)
def test_what_can_be_taken_for_whole(text: str, truncates: bool) -> None:
    """Only where a client has a beginning."""
    assert is_truncating(parse_fault(text)) is truncates
