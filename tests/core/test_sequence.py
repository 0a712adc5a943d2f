"""Which occurrence is next, and in which scope."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.core.sequence import AtEnd, Playhead, split_scope
from replayproxy.model import Headers, Request

SCOPES: list[tuple[str, Headers, str, str]] = [
    ("/v1/models", (), "", "/v1/models"),
    ("/t/one/v1/models?a=/t/x/", (), "one", "/v1/models?a=/t/x/"),
    ("/t/a%20b%2Fc/v1/models", (), "a b/c", "/v1/models"),
    ("/t/one/", (), "one", "/"),
    ("/t/one/t/two/v1", (), "one", "/t/two/v1"),
    ("/t/one", (), "", "/t/one"),
    ("/t//v1", (), "", "/t//v1"),
    ("/t", (), "", "/t"),
    ("/tests/one/v1", (), "", "/tests/one/v1"),
    ("/v1/t/one/x", (), "", "/v1/t/one/x"),
    ("/v1/models", (("X-Replayproxy-Scope", "two"),), "two", "/v1/models"),
    ("/v1/models", (("x-REPLAYPROXY-scope", ""),), "", "/v1/models"),
    ("/t/one/v1", (("X-Replayproxy-Scope", "two"),), "one", "/v1"),
]


@pytest.mark.parametrize(("target", "fields", "scope", "rest"), SCOPES)
def test_a_scope_stands_in_the_path_or_in_a_header(target: str, fields: Headers, scope: str, rest: str) -> None:
    """The path wins. What is left is the request as the server must see it: no trace of the scope."""
    kept = ("Accept", "*/*")
    request = Request("POST", target, (*fields, kept), b"body")
    assert split_scope(request) == (scope, Request("POST", rest, (kept,), b"body"))


def played(at_end: AtEnd, counts: list[int]) -> list[int | None]:
    """What one scope gets when the list has so many recordings at each asking."""
    playhead = Playhead(at_end)
    return [playhead.next("", "rp1:k", count) for count in counts]


WALKS: list[tuple[AtEnd, list[int], list[int | None]]] = [
    (AtEnd.CYCLE, [2, 2, 2, 2, 2], [0, 1, 0, 1, 0]),
    (AtEnd.LAST, [2, 2, 2, 2], [0, 1, 1, 1]),
    (AtEnd.REFUSE, [2, 2, 2, 2], [0, 1, None, None]),
    (AtEnd.CYCLE, [0, 0], [None, None]),
    (AtEnd.LAST, [0, 0], [None, None]),
    (AtEnd.REFUSE, [0, 1, 2], [None, None, None]),  # a first `auto` run: each asking is recorded, none is an echo
    (AtEnd.REFUSE, [2, 2, 2, 3], [0, 1, None, None]),  # a later one: plays what is there, records what is not
]


@pytest.mark.parametrize(("at_end", "counts", "places"), WALKS)
def test_how_a_list_is_walked(at_end: AtEnd, counts: list[int], places: list[int | None]) -> None:
    """In order, and at the end around again, the last one for ever, or no more."""
    assert played(at_end, counts) == places


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["rp1:k", "rp1:l"]))), st.sampled_from(AtEnd))
def test_scopes_do_not_disturb_one_another(askings: list[tuple[str, str]], at_end: AtEnd) -> None:
    """Each (scope, key) sees what it would see alone, however the askings are mixed."""
    together = Playhead(at_end)
    seen = [(place, together.next(*place, 3)) for place in askings]
    for place in set(askings):
        alone = Playhead(at_end)
        mine = [occurrence for who, occurrence in seen if who == place]
        assert mine == [alone.next(*place, 3) for _ in mine]
        assert together.asked(*place) == len(mine)


@given(st.integers(1, 20))
def test_n_askings_get_n_recordings_each_once(count: int) -> None:
    """Whatever the end, the first round plays every recording."""
    for at_end in AtEnd:
        assert played(at_end, [count] * count) == list(range(count))


def test_a_reset_goes_back_to_the_start() -> None:
    """Of one scope, or of all."""
    playhead = Playhead(AtEnd.REFUSE)
    for scope in "ab":
        assert playhead.next(scope, "rp1:k", 1) == 0
    playhead.reset("a")
    assert [playhead.next(scope, "rp1:k", 1) for scope in "ab"] == [0, None]
    playhead.reset()
    assert [playhead.next(scope, "rp1:k", 1) for scope in "ab"] == [0, 0]
    assert playhead.asked("c", "rp1:k") == 0


def test_the_words_of_the_command_line() -> None:
    """`--at-end cycle|last|refuse`."""
    assert [word.value for word in AtEnd] == ["cycle", "last", "refuse"]
