"""Tests of `proxy/miss_search`: why no recording answers a request."""

from __future__ import annotations

import asyncio

import pytest

from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.redaction import Redactor
from replayproxy.core.sequence import AtEnd, Playhead
from replayproxy.errors import Damaged
from replayproxy.model import Ending, Request
from replayproxy.ports import Neighbour
from replayproxy.proxy.aside import InThread
from replayproxy.proxy.miss_search import MissSearch, ScopedRequest
from replayproxy.proxy.run_state import RunState
from replayproxy.views.miss import FORGOTTEN, UNPLAYABLE
from tests.doubles.fakes import InMemoryShelf, answer

MATCHER = Matcher(MatchRules(), Redactor(b"0123456789abcdef"))
SECRET = "sk-proj-" + "k1" * 20


def chat(prompt: str, target: str = "/v1/completions") -> ScopedRequest:
    """A request with its key, in the scope `a`."""
    request = Request("POST", target, (), b'{"model":"m","prompt":"%s"}' % prompt.encode())
    return ScopedRequest(request, "a", MATCHER.key(request))


class Search:
    """A search in recordings in memory."""

    def __init__(self) -> None:
        self.shelf = InMemoryShelf()
        self.state = RunState(Playhead(AtEnd.REFUSE))
        self.search = MissSearch(self.shelf, MATCHER, self.state, InThread())

    def code(self, scoped: ScopedRequest) -> str:
        """The code of the miss."""
        return asyncio.run(self.search.explain(scoped)).code


def test_each_cause_has_its_code() -> None:
    """Exhausted before broken, both before a near one; without any recording alike there is nothing close."""
    found = Search()
    found.shelf.put(chat("recorded").key or "", answer())
    found.shelf.put(chat("broken").key or "", answer(ending=Ending.UPSTREAM_CUT))
    assert [found.code(chat(prompt)) for prompt in ("recorded", "broken", "new")] == [
        "exhausted",
        "incomplete_only",
        "nothing_close",
    ]
    found.shelf.neighbours.append(Neighbour("c", "id", chat("what is the sea").request, 200))
    assert found.code(chat("what is the sky")) == "no_match"


def test_a_request_that_came_before_is_not_compared_again() -> None:
    """The remembered miss is given, with the number of requests of today."""
    found = Search()
    miss = asyncio.run(found.search.explain(chat("new")))
    found.state.note_miss(miss)
    found.shelf.neighbours.append(Neighbour("c", "id", chat("newer").request, 200))
    found.state.next_occurrence("a", miss.key, 0)
    again = asyncio.run(found.search.explain(chat("new")))
    assert (again.code, again.request_count) == ("nothing_close", 1)


def test_a_scope_whose_position_is_lost_gets_no_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """To begin again from the first would be somebody else's answer."""
    found = Search()
    monkeypatch.setattr(found.state, "has_forgotten", lambda scope: scope == "a")
    assert found.code(chat("recorded")) == FORGOTTEN


@pytest.mark.parametrize("where", ["decided", "searching"])
def test_a_damaged_cassette_is_named(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it was noticed before the search or in it."""
    found = Search()
    scoped = chat("new")
    if where == "decided":
        scoped = ScopedRequest(scoped.request, "a", scoped.key, Damaged("row 3 is damaged"))
    else:

        def fail(key: str) -> int:
            raise Damaged("row 3 is damaged")

        monkeypatch.setattr(found.shelf, "count", fail)
    miss = asyncio.run(found.search.explain(scoped))
    assert (miss.code, miss.damage) == (UNPLAYABLE, "row 3 is damaged")


def test_a_miss_holds_no_secret() -> None:
    """Neither of the body, nor of the path, nor of the scope."""
    request = Request("POST", f"/v1/{SECRET}", (), b'{"prompt":"%s"}' % SECRET.encode())
    scoped = ScopedRequest(request, f"run-{SECRET}", MATCHER.key(request))
    assert SECRET not in repr(asyncio.run(Search().search.explain(scoped)))
