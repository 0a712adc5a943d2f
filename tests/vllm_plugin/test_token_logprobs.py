"""A row of logprobs per token."""

from __future__ import annotations

from replayproxy.vllm_plugin.token_logprobs import LogprobRow, logprob_row
from replayproxy.vllm_plugin.token_recordings import TokenLogprob as At

FOUND = {"a": [1], "b": [2, 3], "?": [4, 5, 6]}


def find(text: str) -> list[int]:
    """Some tokens have the same text."""
    return FOUND.get(text, [])


def test_recorded_logprobs_keep_their_order() -> None:
    """The token first, each alternative with an id that has its text; itself among them counts once."""
    recorded = [At("a", -2.0), At("b", -1.0), At("a", -2.0), At("?", -3.0)]
    assert logprob_row(1, recorded, 3, find, 100) == LogprobRow([1, 2, 4, 1], [-2.0, -1.0, -3.0, -2.0], 2)


def test_alternatives_of_the_same_text_get_different_ids() -> None:
    """Parts of characters all read as the replacement character."""
    recorded = [At("?", -0.5), At("?", -0.5), At("?", -1.0), At("?", -2.0)]
    assert logprob_row(5, recorded, 2, find, 100) == LogprobRow([5, 4, 6], [-0.5, -1.0, -2.0], 1)


def test_what_no_token_has_as_text_is_left_out() -> None:
    """And an id beyond the vocabulary. The row is filled with the token itself, which vLLM shows once."""
    recorded = [At("a", -0.5), At("unknown", -1.0), At(700, -2.0)]
    assert logprob_row(1, recorded, 2, find, 100) == LogprobRow([1, 1, 1], [-0.5] * 3, 1)


def test_ids_are_taken_as_they_are() -> None:
    """Of a capture."""
    assert logprob_row(7, [At(7, -0.5), At(8, -1.0)], 1, find, 100) == LogprobRow([7, 8], [-0.5, -1.0], 1)


def test_more_than_is_asked_for_is_cut() -> None:
    """A recording may have five alternatives for who asks for one."""
    assert logprob_row(7, [At(7, -0.5), At(8, -1.0), At(9, -2.0)], 1, find, 100).ids == [7, 8]
    assert logprob_row(7, [At(7, -0.5)], 0, find, 100) == LogprobRow([7], [-0.5], 1)


def test_made_up_logprobs_fall_and_are_the_same_each_time() -> None:
    """Different ids, the token the most likely one."""
    row = logprob_row(7, [], 4, find, 100)
    assert row == logprob_row(7, [], 4, find, 100)
    assert (row.ids[0], len(set(row.ids)), row.rank) == (7, 5, 1)
    assert sorted(row.logprobs, reverse=True) == row.logprobs
    assert logprob_row(0, [], 4, find, 2).ids == [0, 1, 0, 0, 0]
