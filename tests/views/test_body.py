"""Tests of `views/body`: a recorded body as people read it."""

from __future__ import annotations

import gzip
import zlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.core import coding as codings
from replayproxy.model import Headers, Response, Timeline
from replayproxy.views import body


def response(content: bytes, cuts: tuple[int, ...] | None = None, *fields: tuple[str, str]) -> Response:
    """An answer in these chunks."""
    sizes = (len(content),) if cuts is None else cuts
    return Response(200, fields, content, sizes, Timeline(0, (0,) * len(sizes), 0))


def coded(coding: str) -> tuple[str, str]:
    """The field line."""
    return ("Content-Encoding", coding)


CODINGS = [
    ("gzip", gzip.compress(b"hello" * 100)),
    ("x-gzip", gzip.compress(b"hello" * 100)),
    ("GZIP", gzip.compress(b"hello" * 100)),
    ("deflate", zlib.compress(b"hello" * 100)),
    ("identity", b"hello" * 100),
]


@pytest.mark.parametrize(("coding", "content"), CODINGS)
@given(cut=st.integers(0, 20))
def test_codings_are_undone_at_any_cut(coding: str, content: bytes, cut: int) -> None:
    """A chunk at a time."""
    chunks = list(codings.decoded_chunks(response(content, (cut, len(content) - cut), coded(coding))))
    assert (len(chunks), b"".join(chunks)) == (2, b"hello" * 100)


def test_what_cannot_be_undone_stays() -> None:
    """An unknown coding, or one that does not hold."""
    assert codings.decoded(response(b"abc", None, coded("br"))) == b"abc"
    assert codings.decoded(response(b"abc", None, coded("gzip"))) == b"abc"
    assert codings.decoded(response(gzip.compress(b"abc")[:-9], None, coded("gzip"))) == b"abc"


def test_a_bomb_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit, in one chunk or in many."""
    monkeypatch.setattr(codings, "LIMIT", 10_000)
    bomb = gzip.compress(b"\0" * 1_000_000)
    half = len(bomb) // 2
    for cuts in ((len(bomb),), (half, len(bomb) - half)):
        assert len(codings.decoded(response(bomb, cuts, coded("gzip")))) == 10_000


def test_text_is_utf8_without_nul() -> None:
    """Anything else is not for a terminal."""
    assert [body.as_text(content) for content in (b"caf\xc3\xa9", b"\xff", b"a\0b", b"")] == ["café", None, None, ""]


def test_pretty_json() -> None:
    """What is no JSON, or nested too deep to be written, stays as it is."""
    deep = b"[" * 500 + b"]" * 500
    assert [body.pretty(content) for content in (b'{"a":[1]}', b"data: x", deep)] == [
        b'{\n  "a": [\n    1\n  ]\n}',
        b"data: x",
        deep,
    ]


STREAM: Headers = (("content-type", "text/event-stream"),)


def test_texts_of_several_dialects() -> None:
    """Chat, completions, responses, messages; each choice by itself; what says nothing has no text."""
    said = {
        "chat": {"choices": [{"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}]},
        "completions": {"choices": [{"index": 0, "text": "c"}]},
        "responses": {"type": "response.output_text.delta", "delta": "d"},
        "messages": {"type": "content_block_delta", "delta": {"text": "e"}},
        "odd": {"choices": ["x", {"index": "y", "text": "f"}]},
        "none": {"choices": []},
    }
    texts = {
        name: [
            (text.choice, text.text)
            for text in body.texts_of(response(b"data: " + orjson.dumps(value) + b"\n\n", None, *STREAM))
        ]
        for name, value in said.items()
    }
    assert texts == {
        "chat": [(0, "a"), (1, "b")],
        "completions": [(0, "c")],
        "responses": [(0, "d")],
        "messages": [(0, "e")],
        "odd": [(0, "f")],
        "none": [],
    }


def test_text_of_an_answer_that_was_not_streamed() -> None:
    """The same, from one JSON."""
    content = b'{"choices":[{"index":0,"message":{"content":"hi"}}]}'
    assert body.texts_of(response(content)) == [body.ChoiceText(0, "hi")]
    assert body.texts_of(response(b"\xff")) == []


def test_text_of_each_chunk() -> None:
    """With the chunk that completes the event; None where nothing is said."""
    event = b'data: {"choices":[{"text":"hi"}]}\n\n'
    streamed = response(event + event, (5, len(event) - 5, len(event)), *STREAM)
    assert list(body.text_of_chunks(streamed)) == [None, "hi", "hi"]
    assert list(body.text_of_chunks(response(event))) == [None]
