"""Answers with other ids: the same bytes but for the ids, the same chunks; or no answer."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from replayproxy.core.answer_ids import answer_with_ids
from replayproxy.core.identity.fresh_ids import Uncertain
from replayproxy.model import Ending, Headers, Response, Timeline

OLD, NEW = "T-81c2f0", "T-9e04aa"
IDS = {OLD: NEW}


def response(*chunks: bytes, headers: Headers = ()) -> Response:
    """An answer in these chunks."""
    times = tuple(range(len(chunks)))
    return Response(200, headers, b"".join(chunks), tuple(map(len, chunks)), Timeline(0, times, 9), Ending.COMPLETE)


def event(**delta: Any) -> bytes:
    """One event of a streamed chat."""
    return b"data: " + json.dumps({"id": "c", "choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_an_id_in_pieces(size: int) -> None:
    """An id that comes in pieces over several events is exchanged piece by piece; every chunk keeps its size."""
    before, after = (f'Hé "{id}"\n{id}, 😀{id}!' for id in (OLD, NEW))
    streamed, expected = (
        response(*(event(content=text[at : at + size]) for at in range(0, len(text), size)), b"data: [DONE]\n\n")
        for text in (before, after)
    )
    changed, found = answer_with_ids(streamed, IDS)
    assert (changed, found) == (expected, frozenset({OLD}))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (json.dumps({"a": OLD, "b": [f"\n{OLD}\t"]}), json.dumps({"a": NEW, "b": [f"\n{NEW}\t"]})),
        (json.dumps({"a": json.dumps({"t": "\n" + OLD})}), json.dumps({"a": json.dumps({"t": "\n" + NEW})})),
        ('{"a" : "\\u0054-81c2f0"}', '{"a" : "\\u0054-9e04aa"}'),
        ('{"a":"\\ud83d\\ude00 T-81c2f0 \\\\"}', '{"a":"\\ud83d\\ude00 T-9e04aa \\\\"}'),
        (f"plain text with {OLD}.\r\n", f"plain text with {NEW}.\r\n"),
        (f'data: {{"a":"{OLD}"}}\n\ndata: {{"a":"{OLD}"}}\n\n', f'data: {{"a":"{NEW}"}}\n\ndata: {{"a":"{NEW}"}}\n\n'),
    ],
)
def test_spellings(before: str, after: str) -> None:
    """White space, escapes and everything else around an id stay as they were spelled."""
    assert answer_with_ids(response(before.encode()), IDS)[0].body == after.encode()


def test_choices_are_texts_of_their_own() -> None:
    """Two choices that come in turn are not read as one text."""
    chunks = [
        b"data: " + json.dumps({"choices": [{"index": index, "delta": {"content": text}}]}).encode() + b"\n\n"
        for index, text in ((0, "T-81"), (1, "other"), (0, "c2f0"), (1, "text"))
    ]
    body = answer_with_ids(response(*chunks), IDS)[0].body
    assert b"T-9e" in body
    assert b"04aa" in body


def test_an_answer_without_the_id() -> None:
    """An answer that names no id is the same object, whatever it is."""
    for body in (b'{"a":"b"}', b"data: x\n\n", b"\xff\xfe", b""):
        answer = response(body)
        assert answer_with_ids(answer, IDS) == (answer, frozenset())


@pytest.mark.parametrize(
    "text",
    ["the one that ends in 81c2f0", "t-81C2F0 is open", f"file_{OLD}.txt", f"{OLD} and 81c2f0"],
)
def test_an_id_that_is_named_otherwise(text: str) -> None:
    """An answer that names an id by a part, in capitals or within a word cannot have the fresh one."""
    with pytest.raises(Uncertain, match="by a part of it"):
        answer_with_ids(response(json.dumps({"content": text}).encode()), IDS)


def test_a_uuid_that_is_cut_short() -> None:
    """The first eight digits of a uuid name it too."""
    ids = {"8e90bd35-2885-44f6-955f-9f58a26e8a45": "3abfb103-c703-4d4d-bb0a-32d02460d2df"}
    with pytest.raises(Uncertain):
        answer_with_ids(response(b'{"a":"ticket 8e90bd35"}'), ids)


@pytest.mark.parametrize("beside", [{"logprobs": {"content": [{"token": "T"}]}}, {"token_ids": [1, 2]}])
def test_text_that_is_there_as_tokens_too(beside: dict[str, Any]) -> None:
    """An answer with log probabilities or token ids of its text has no fresh ids, for these cannot be made."""
    with pytest.raises(Uncertain, match="tokens"):
        answer_with_ids(response(json.dumps({"choices": [{"text": OLD, **beside}]}).encode()), IDS)


def test_a_coded_answer() -> None:
    """A compressed answer that names an id goes out as it reads; without one it stays compressed."""
    plain = json.dumps({"a": OLD}).encode()
    coded = response(gzip.compress(plain), headers=(("Content-Encoding", "gzip"), ("Content-Length", "99")))
    changed, _ = answer_with_ids(coded, IDS)
    assert (changed.body, changed.headers) == (plain.replace(OLD.encode(), NEW.encode()), (("Content-Length", "17"),))
    assert answer_with_ids(coded, {"T-77ab31": NEW})[0] is coded
