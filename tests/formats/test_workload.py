"""What benchmarks want of a recording: arrivals, lengths, conversations, shared beginnings of prompts."""

from __future__ import annotations

from pathlib import Path

import pytest

from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.formats.format import Notes, StoredExchange
from replayproxy.formats.workload import (
    ERROR,
    ESTIMATED_LENGTH,
    OTHER_ENDPOINT,
    PrefixHashes,
    WorkItem,
    estimated_tokens,
    limited_output,
    recorded_ids,
    work_items,
)
from tests.formats.workloads import conversations


def items(path: Path, notes: Notes) -> list[WorkItem]:
    """The workload of a cassette."""
    with CassetteBrowser.open(path) as browser:
        stored = [StoredExchange(row, browser.exchange(row["number"])) for row in browser.rows()]
    return list(work_items(stored, notes))


def test_a_workload_is_what_generated_text(tmp_path: Path) -> None:
    """By arrival; what is left out and what is estimated is counted."""
    notes = Notes()
    found = items(conversations(tmp_path / "a.cassette"), notes)
    assert [item.at // 1_000_000 for item in found] == [0, 500, 1000, 1500]
    assert [(item.input_length, item.output_length) for item in found][:2] == [(700, 3), (20, 3)]
    assert (found[3].input_length, found[3].output_length) == (1000, 4)
    assert notes.skipped == {ERROR: 1, OTHER_ENDPOINT: 1}
    assert notes.estimated == {ESTIMATED_LENGTH: 1}
    assert [item.is_estimated for item in found] == [False, False, True, False]


def test_a_turn_belongs_to_the_conversation_that_it_continues(tmp_path: Path) -> None:
    """And says how long after the end of the turn before it came."""
    found = items(conversations(tmp_path / "a.cassette"), Notes())
    assert found[2].session == found[0].session != found[1].session
    assert [item.turn for item in found] == [0, 0, 1, 0]
    assert found[2].since_last_turn == 1_000_000_000 - found[0].exchange.response.timeline.end
    assert found[0].since_last_turn is None


def test_token_ids_are_those_that_the_server_returned(tmp_path: Path) -> None:
    """With the time of the event that brought each."""
    found = recorded_ids(items(conversations(tmp_path / "a.cassette"), Notes())[3].exchange)
    assert found.prompt == list(range(1000))
    assert found.choices == {0: [5, 6, 8, 9]}
    assert found.times == {0: [20_000_000, 20_000_000, 30_000_000, 30_000_000]}
    assert (found.finish, found.stop) == ({0: "stop"}, {0: 7})


def test_equal_beginnings_have_equal_hashes() -> None:
    """A block's number stands for all before it too; numbers are dense, in the order of appearance."""
    hashes = PrefixHashes(block=2)
    assert hashes.of_ids([1, 2, 3, 4, 5]) == [0, 1, 2]
    assert hashes.of_ids([1, 2, 3, 4, 6]) == [0, 1, 3]
    assert hashes.of_ids([3, 4, 1, 2]) == [4, 5]


def test_a_text_has_as_many_hashes_as_its_tokens_have_blocks() -> None:
    """Whatever its length in bytes; behind its end nothing is shared."""
    hashes = PrefixHashes(block=2)
    first = hashes.of_text("12345678abcdefgh", 4)
    assert hashes.of_text("12345678ABCDEFGH", 4)[0] == first[0]
    assert len(hashes.of_text("", 5)) == 3
    assert len(hashes.of_text("x" * 1000, 3)) == 2


@pytest.mark.parametrize(("text", "tokens"), [("", 1), ("one two three", 4), ("日" * 40, 15), ("a" * 800, 100)])
def test_a_length_is_estimated_by_words(text: str, tokens: int) -> None:
    """And by bytes where there are no words."""
    assert estimated_tokens(text) == tokens


def test_the_limit_of_an_answer() -> None:
    """By any of its names."""
    assert limited_output({"max_completion_tokens": 3, "max_tokens": 4}) == 3
    assert limited_output({"max_tokens": "4"}) is None
