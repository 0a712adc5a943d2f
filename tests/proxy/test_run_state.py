"""Tests of `proxy/run_state`: positions, counts, calls and misses of a run, as values that could cross a process."""

from __future__ import annotations

import inspect
import pickle  # noqa: TID251  to show that the values cross a process
from typing import TypeVar, cast

from replayproxy.core.sequence import AtEnd, Playhead
from replayproxy.model import RecordingRef, Request
from replayproxy.proxy.request_log import Call, RequestLog
from replayproxy.proxy.run_state import RunState
from replayproxy.views.miss import Miss

T = TypeVar("T")

CHAT = Request("POST", "/v1/chat/completions", (), b"{}")
PLACE = RecordingRef("rp1:a", 0)


def copied(value: T) -> T:
    """Through a pickle."""
    return cast("T", pickle.loads(pickle.dumps(value)))  # noqa: S301  our own


def state(at_end: AtEnd = AtEnd.REFUSE) -> RunState:
    """A new state with a request log."""
    return RunState(Playhead(at_end), request_log=RequestLog())


def test_what_a_run_remembers() -> None:
    """A call is counted and logged; a probe and an upgrade are only counted."""
    run = state()
    assert [run.next_occurrence("a", "rp1:a", 1) for _ in range(2)] == [0, None]
    run.note_played(PLACE)
    run.count("replay", CHAT, "a", PLACE)
    run.count("refuse", CHAT, "a", miss=run.note_miss(Miss("exhausted", CHAT, "rp1:a")))
    run.count_only("probe")
    assert run.request_log is not None
    assert run.request_log.calls == [Call(CHAT, "a", "replay", PLACE), Call(CHAT, "a", "refuse", None, "m-0001")]
    assert run.counters.requests == {"replay": 1, "refuse": 1, "probe": 1}
    assert (run.counters.misses, run.counters.played) == ({"exhausted": 1}, {PLACE: 1})
    assert run.request_count("a", "rp1:a") == 2
    assert all(size > 0 for size in run.state_bytes().values())


def test_a_miss_that_was_searched_is_not_searched_again() -> None:
    """Only those of requests that were never recorded: how often a list was exhausted changes."""
    run = state()
    found = Miss("no_match", CHAT, "rp1:b")
    run.note_miss(found)
    run.note_miss(Miss("exhausted", CHAT, "rp1:a"))
    cached = run.cached_miss("rp1:b")
    assert cached is not None
    assert (cached.code, run.cached_miss("rp1:a"), run.cached_miss("rp1:c")) == ("no_match", None, None)


def test_a_reset_forgets_positions_and_with_counts_the_rest() -> None:
    """Of one scope or of all; a position that is taken back counts as not asked."""
    run = state()
    for scope in ("a", "b"):
        run.next_occurrence(scope, "rp1:a", 1)
    run.undo_position("b", "rp1:a")
    assert run.request_count("b", "rp1:a") == 0
    run.note_miss(Miss("no_match", CHAT, "rp1:b"))
    run.reset("a")
    assert (run.request_count("a", "rp1:a"), run.counters.misses) == (0, {"no_match": 1})
    run.reset(counts=True)
    assert (run.counters.misses, len(run.misses.causes)) == ({}, 0)


def test_the_values_of_each_method_can_be_pickled() -> None:
    """So a state in another process can answer: every argument and every result of a public method crosses a socket."""
    run = state()
    values = {
        "scope": "a",
        "key": "rp1:a",
        "recorded": 2,
        "outcome": "replay",
        "request": CHAT,
        "place": PLACE,
        "miss": Miss("no_match", CHAT, "rp1:a"),
        "call": Call(CHAT, "a", "replay"),
        "counts": False,
    }
    methods = [(name, method) for name, method in inspect.getmembers(run, inspect.ismethod) if not name.startswith("_")]
    assert len(methods) >= 10
    for name, method in methods:
        given = {each: values[each] for each in inspect.signature(method).parameters}
        if name == "count":
            given["miss"] = "m-0001"
        result = method(**copied(given))
        assert copied(result) == result
