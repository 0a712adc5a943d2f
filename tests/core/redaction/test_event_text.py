"""The texts of an answer are put together from its events, and taken apart again to the places where they stand."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pytest

from replayproxy.core.redaction import event_text
from replayproxy.core.redaction.detector import overwrite


def stream(*values: object) -> bytes:
    """Events."""
    return b"".join(b"data: " + orjson.dumps(value) + b"\n\n" for value in values)


def delta(index: int, **has_text: object) -> dict[str, object]:
    """One of a chat."""
    return {"choices": [{"index": index, "delta": has_text}]}


def call(index: int, text: str) -> dict[str, object]:
    """A piece of the arguments of a tool call."""
    return delta(0, tool_calls=[{"index": index, "function": {"arguments": text}}])


TOGETHER: list[tuple[Sequence[object], list[bytes]]] = [
    ([delta(0, content="ab"), delta(0, content="cd")], [b"abcd"]),
    (
        [delta(0, content="ab"), delta(1, content="xy"), delta(0, content="cd"), delta(1, content="z")],
        [b"abcd", b"xyz"],
    ),
    ([delta(0, reasoning="th"), delta(0, reasoning="ink"), delta(0, content="say")], [b"think", b"say"]),
    ([call(0, "{"), call(1, "["), call(0, "}"), call(1, "]")], [b"{}", b"[]"]),
    ([{"choices": [{"index": 0, "text": "a"}, {"index": 1, "text": "x"}]}] * 2, [b"aa", b"xx"]),
    ([{"type": "response.output_text.delta", "output_index": 1, "delta": "a"}] * 3, [b"aaa"]),
    ([{"type": "content_block_delta", "index": 2, "delta": {"partial_json": "{"}}] * 2, [b"{{"]),
    ([{"choices": []}, {"usage": {"total_tokens": 3}}], []),
]


@pytest.mark.parametrize(("events", "texts"), TOGETHER)
def test_what_belongs_together_is_put_together(events: Sequence[object], texts: list[bytes]) -> None:
    """By choice, tool call or item, and by field."""
    data = stream(*events)
    assert [channel_text.text for channel_text in event_text.TextFields().channels(data).values()] == texts


def test_a_change_goes_where_the_text_stands() -> None:
    """Cut to the events, none of which becomes longer."""
    data = stream(delta(0, content="abc"), delta(0, content=""), delta(0, content="def"))
    (channel_text,) = event_text.TextFields().channels(data).values()
    changed = overwrite(data, channel_text.split_mask(1, b"1234"))
    assert changed == stream(delta(0, content="a12"), delta(0, content=""), delta(0, content="34f"))
    assert [data[channel_text.position_in_whole(at) : channel_text.position_in_whole(at) + 1] for at in range(6)] == [
        b"a",
        b"b",
        b"c",
        b"d",
        b"e",
        b"f",
    ]


def test_the_tokens_of_log_probabilities() -> None:
    """Tokens, alternatives and bytes; names and numbers that are none stay."""
    chat = {"content": [{"token": "sk", "logprob": -1.5, "bytes": [115, 107], "top_logprobs": [{"token": "a"}]}]}
    old = {
        "tokens": ["sk", "-a"],
        "token_logprobs": [-1.5, -2.0],
        "text_offset": [0, 2],
        "top_logprobs": [{"sk": -1.5}],
    }
    for logprobs, masked in (
        (chat, {"content": [{"token": "**", "logprob": -1.5, "bytes": [111, 111], "top_logprobs": [{"token": "*"}]}]}),
        (
            old,
            {
                "tokens": ["**", "**"],
                "token_logprobs": [-1.5, -2.0],
                "text_offset": [0, 2],
                "top_logprobs": [{"**": -1.5}],
            },
        ),
    ):
        data = orjson.dumps({"model": "tiny", "choices": [{"logprobs": logprobs, "text": "sk-a"}]})
        assert event_text.has_logprobs(data)
        assert orjson.loads(overwrite(data, event_text.token_masks(data))) == {
            "model": "tiny",
            "choices": [{"logprobs": masked, "text": "sk-a"}],
        }
    assert not event_text.has_logprobs(b'{"logprobs":null}')
