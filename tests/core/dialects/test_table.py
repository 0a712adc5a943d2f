"""The table of dialects: which dialect a path has, and that fields of all of them are read."""

from __future__ import annotations

import pytest

from replayproxy.core.dialects.dialect import Usage
from replayproxy.core.dialects.table import DIALECTS, dialect_of, finish_in, usage_in

PATHS = {
    "/v1/chat/completions": "chat",
    "//proxy//v1/chat//completions/": "chat",
    "/v1/completions": "completions",
    "/v1/responses": "responses",
    "/anthropic/v1/messages": "messages",
    "/v1/messages/count_tokens": "other",
    "/generate": "other",
    "": "other",
}


@pytest.mark.parametrize(("path", "name"), PATHS.items())
def test_dialect_of_a_path(path: str, name: str) -> None:
    """The last parts decide, whatever precedes them."""
    assert dialect_of(path).name == name


def test_each_dialect_has_one_name_and_one_path() -> None:
    """A row is found by its path, so two rows with one path would hide each other."""
    assert len({dialect.name for dialect in DIALECTS}) == len({dialect.path for dialect in DIALECTS}) == len(DIALECTS)


def test_the_first_dialect_that_states_a_count_gives_it() -> None:
    """Some servers state a count under both names; one without counts states nothing."""
    both = {"usage": {"prompt_tokens": 7, "input_tokens": 8, "output_tokens": 3, "cache_read_input_tokens": 2}}
    assert usage_in(both) == Usage(7, 3, 2)
    assert usage_in({"usage": {"prompt_tokens": True, "completion_tokens": -1}}) == Usage()
    assert finish_in({"choices": [{"finish_reason": "stop"}], "stop_reason": "x"}) == "stop"
