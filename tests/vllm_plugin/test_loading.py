"""Recordings from cassettes and from lines of token ids."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from replayproxy.errors import CassetteError, Damaged, NotACassette
from replayproxy.model import Ending
from replayproxy.vllm_plugin.loading import check_recordings, load_recordings
from tests.recordings import JSON, asked, exchange, record, said
from tests.vllm_plugin.test_tokenized_texts import Letters


def answer(number: int, *, with_ids: bool = True, **more: Any) -> Any:
    """One of a series; the later ones were recorded later."""
    ids = {"prompt_token_ids": [number]} if with_ids else {}
    choice = {"index": 0, "token_ids": [number + 10] if with_ids else None, "finish_reason": "stop"}
    return exchange(asked(f"{number}"), said([orjson.dumps({"choices": [choice]} | ids)], headers=JSON, **more), number)


def test_a_cassette_gives_what_carries_ids_in_the_order_of_recording(tmp_path: Path) -> None:
    """Answers that broke, failed or carry none are left out. Names are the ids that `ls` shows."""
    broken = replace(answer(4), response=replace(answer(4).response, ending=Ending.UPSTREAM_CUT))
    exchanges = [answer(2), answer(1), answer(3, with_ids=False), broken, answer(5, status=500)]
    found = load_recordings([record(tmp_path / "a.cassette", exchanges)])
    assert [(one.prompt, one.tokens) for one in found] == [((1,), (11,)), ((2,), (12,))]
    assert all(len(one.name) == 8 for one in found)


def test_lines_and_cassettes_follow_each_other(tmp_path: Path) -> None:
    """In the order of the files."""
    lines = tmp_path / "ids.jsonl"
    lines.write_bytes(b'{"prompt_token_ids":[7],"token_ids":[8]}\n{"prompt_token_ids":[9],"token_ids":[8]}\n')
    cassette = record(tmp_path / "a.cassette", [answer(1)])
    assert [one.prompt for one in load_recordings([lines, cassette, lines])] == [(7,), (9,), (1,), (7,), (9,)]


def test_a_cassette_without_ids_says_what_to_do(tmp_path: Path) -> None:
    """Two ways."""
    cassette = record(tmp_path / "a.cassette", [answer(3, with_ids=False)])
    with pytest.raises(CassetteError, match=r"none whose text could be tokenized.*return_token_ids.*capture"):
        load_recordings([cassette])


def test_texts_are_tokenized_where_there_is_a_tokenizer(tmp_path: Path) -> None:
    """Only those that carry no ids."""
    choice = {"index": 0, "message": {"content": "ab"}, "finish_reason": "stop"}
    text = exchange(asked("a"), said([orjson.dumps({"choices": [choice]})], headers=JSON), 9)
    found = load_recordings([record(tmp_path / "a.cassette", [answer(1), text])], tokenizer=Letters())
    assert [(one.tokens, one.is_approximate) for one in found] == [((11,), False), ((97, 98), True)]


def test_what_is_neither_is_refused_with_the_line(tmp_path: Path) -> None:
    """As is a file that is not there."""
    text = tmp_path / "notes.txt"
    text.write_text('{"prompt_token_ids":[7],"token_ids":[8]}\nhello\n')
    with pytest.raises(NotACassette, match=r"notes\.txt.*line 2 cannot be used"):
        load_recordings([text])
    with pytest.raises(NotACassette, match=r"missing\.cassette"):
        load_recordings([tmp_path / "missing.cassette"])


def test_files_can_be_checked_before_they_are_read(tmp_path: Path) -> None:
    """The same errors, at once; what is behind the first line is not looked at."""
    cassette, lines = record(tmp_path / "a.cassette", [answer(1)]), tmp_path / "ids.jsonl"
    lines.write_bytes(b'{"prompt_token_ids":[7],"token_ids":[8]}\n???\n')
    check_recordings([cassette, lines])
    lines.write_bytes(b"???")
    for path in (lines, tmp_path / "missing"):
        with pytest.raises(NotACassette):
            check_recordings([path])


def test_a_damaged_cassette_is_named(tmp_path: Path) -> None:
    """By the error of whoever reads it."""
    cassette = record(tmp_path / "a.cassette", [answer(1)])
    cassette.write_bytes(cassette.read_bytes()[:5000])
    with pytest.raises((Damaged, NotACassette), match=r"a\.cassette"):
        load_recordings([cassette])
