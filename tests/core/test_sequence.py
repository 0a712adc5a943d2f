"""Which occurrence is next, and in which scope."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.core import sequence
from replayproxy.core.sequence import AtEnd, Playhead, split_scope
from replayproxy.errors import ClientError
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
    playhead = Playhead(at_end, records=True)
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
        assert together.request_count(*place) == len(mine)


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
    assert playhead.request_count("c", "rp1:k") == 0


@pytest.mark.parametrize("length", [256, 257])
@pytest.mark.parametrize("letter", ["s", "ü", "\U0001f600", "\udcff"])
def test_a_scope_has_at_most_256_bytes(length: int, letter: str) -> None:
    """In UTF-8, after its escapes are undone; a longer one is refused with a sentence."""
    size = len(letter.encode("utf-8", "surrogatepass"))
    scope = letter * (length // size) + "s" * (length % size)
    for request in (
        Request("GET", f"/t/{quote(scope, errors='surrogatepass') if size > 1 and size != 3 else scope}/v1/models"),
        Request("GET", "/v1/models", (("X-Replayproxy-Scope", scope),)),
    ):
        if length <= 256:
            assert split_scope(request)[0] == scope
        else:
            with pytest.raises(ClientError, match="more than 256 bytes"):
                split_scope(request)


def test_positions_are_bounded_and_no_scope_begins_again_unnoticed() -> None:
    """The scope that was idle for longest goes; it is known to be forgotten until it is reset."""
    playhead = Playhead(AtEnd.CYCLE, limit=100_000)
    for number in range(1000):
        assert playhead.next(f"scope {number}", "rp1:k", 2) == 0
        assert playhead.next("busy", "rp1:k", 2) == number % 2
        assert playhead.bytes <= 100_000
    assert not playhead.has_forgotten("busy")
    assert not playhead.has_forgotten("scope 999")
    assert not playhead.has_forgotten("new")
    assert playhead.has_forgotten("scope 0")
    playhead.reset("scope 0")
    assert not playhead.has_forgotten("scope 0")
    playhead.reset()
    assert (playhead.bytes, playhead.has_forgotten("scope 1")) == (0, False)


def test_forgotten_scopes_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """When they are too many, those that are followed go on, and no new one is."""
    monkeypatch.setattr(sequence, "MAX_FORGOTTEN", 10)
    playhead = Playhead(AtEnd.REFUSE, limit=10_000)
    for number in range(100):
        if not playhead.has_forgotten(f"scope {number}"):
            playhead.next(f"scope {number}", "rp1:k", 2)
    followed = [number for number in range(100) if not playhead.has_forgotten(f"scope {number}")]
    assert followed == list(range(10, 10 + len(followed)))
    assert playhead.bytes <= 11_000
    assert playhead.has_forgotten("yet another")


def test_what_misses_takes_no_positions() -> None:
    """A million different requests without a recording: how often each came is kept of the last ones only."""
    playhead = Playhead(AtEnd.CYCLE)
    for number in range(sequence.MAX_MISSED + 100):
        assert playhead.next("", f"rp1:{number}", 0) is None
    assert (playhead.bytes, playhead.request_count("", "rp1:0"), playhead.request_count("", f"rp1:{number}")) == (
        0,
        0,
        1,
    )


def test_the_words_of_the_command_line() -> None:
    """`--at-end cycle|last|refuse`."""
    assert [word.value for word in AtEnd] == ["cycle", "last", "refuse"]
