"""Fresh ids over a run: what is learned, what is refused, what is counted, and what the client gets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.policy import Mode, OnMiss
from replayproxy.core.sequence import AtEnd, Playhead
from replayproxy.core.timing import Pace
from replayproxy.model import Request, Response
from replayproxy.ports import Neighbour
from replayproxy.proxy.aside import InThread
from replayproxy.proxy.carried_ids import CarriedId
from replayproxy.proxy.carry import MOST_IDS, Carry, with_recorded_ids
from replayproxy.proxy.counters import Counters
from replayproxy.proxy.handler import ReplayProxy
from replayproxy.proxy.player import Player
from replayproxy.proxy.run_state import RunState
from tests.doubles.fakes import HearingListener, InMemoryShelf, ManualClock, answer

MATCHER = Matcher(MatchRules())
R1, R2 = "T-81c2f0", "T-55de91"
F1, F2, F3 = "T-9e04aa", "T-77ab31", "T-2b9f6c"


def chat(*messages: tuple[str, str], scope: str = "", **more: Any) -> Request:
    """A request of these roles and texts."""
    body = {"messages": [{"role": role, "content": content} for role, content in messages], **more}
    return Request("POST", f"{scope}/v1/chat/completions", (), json.dumps(body).encode())


def minted(id: str, *more: tuple[str, str], scope: str = "", **settings: Any) -> Request:
    """A conversation in which a tool has returned an id."""
    return chat(("user", "open one"), ("tool", f"ticket {id}"), *more, scope=scope, **settings)


def says(text: str) -> Response:
    """An answer."""
    return answer((0, json.dumps({"content": text}).encode()))


class Run:
    """A replay with `--carry` of these recordings."""

    def __init__(self, recordings: Sequence[tuple[Request, Response]], at_end: AtEnd = AtEnd.REFUSE) -> None:
        self.shelf, self.counters, self.clock = InMemoryShelf(), Counters(), ManualClock()
        for number, (request, response) in enumerate(recordings):
            self.shelf.put(MATCHER.key(request), response)
            self.shelf.neighbours.append(Neighbour("a.cassette", f"{number:08}", request, 200))
        self.carry = Carry(self.shelf, MATCHER, InThread(), self.counters)
        self.proxy = ReplayProxy(
            Mode.REPLAY,
            OnMiss.REFUSE,
            clock=self.clock,
            player=Player(self.clock, Pace(None), self.counters),
            matcher=MATCHER,
            state=RunState(Playhead(at_end), self.counters),
            store=self.shelf,
            carry=self.carry,
        )

    def ask(self, request: Request) -> str:
        """What the client gets: the text of an answer, or the sentence of a miss."""
        log: list[str] = []
        asyncio.run(self.proxy.answer(request, HearingListener(log, self.clock)))
        body = json.loads(next("{" + line.partition("{")[2] for line in log if "{" in line))
        text: str = body["content"] if "content" in body else body["error"]["message"]
        return text

    @property
    def uses(self) -> list[str]:
        """What the report lists."""
        return [use.sentence for use in CarriedId.of(self.counters.carried)]


def test_a_conversation_with_a_fresh_id() -> None:
    """The id is matched, put into the answer, known in later requests of the scope, and each use is listed."""
    first, second = minted(R1), chat(("system", f"You handle {R1}"), ("user", "go on"))
    run = Run([(first, says(f"{R1} is open")), (second, says(f"closed {R1}."))])
    assert run.ask(minted(F1)) == f"{F1} is open"
    assert run.ask(chat(("system", f"You handle {F1}"), ("user", "go on"))) == f"closed {F1}."
    assert [use[: use.index(" of ")] for use in run.uses] == [
        f"{F1} stood for the recorded {R1} (1 request, 1 answer",
        f"{F1} stood for the recorded {R1} (1 request, 1 answer",
    ]


def test_the_recorded_id_itself() -> None:
    """A request as it was recorded gets the answer as it was recorded, also beside one with a fresh id."""
    run = Run([(minted(R1), says(f"{R1} is open"))], AtEnd.CYCLE)
    assert run.ask(minted(R1)) == f"{R1} is open"
    assert run.ask(minted(F1)) == f"{F1} is open"
    assert run.ask(minted(R1)) == f"{R1} is open"


def test_an_answer_to_a_request_that_names_no_id() -> None:
    """A server that remembers may name the id unasked: the fresh one of the scope is put there, and counted."""
    listing = chat(("user", "list all"))
    run = Run([(minted(R1), says("ok")), (listing, says(f"only {R1}"))], AtEnd.CYCLE)
    assert run.ask(listing) == f"only {R1}"
    run.ask(minted(F1))
    assert run.ask(listing) == f"only {F1}"
    assert "(0 requests, 1 answer of" in run.uses[-1]


def test_several_fresh_ids_for_one() -> None:
    """A conversation that is replayed again mints anew; an answer that could mean either of the ids is refused."""
    listing = chat(("user", "list all"))
    run = Run([(minted(R1), says(f"{R1} ok")), (listing, says(f"only {R1}"))], AtEnd.CYCLE)
    assert [run.ask(minted(id)) for id in (F1, F2)] == [f"{F1} ok", f"{F2} ok"]
    assert "has several fresh ids in this scope" in run.ask(listing)
    assert list(run.counters.misses) == ["uncertain_id"]


def test_two_recordings_that_fit() -> None:
    """Where two recordings fit equally well neither is played."""
    run = Run([(minted(R1), says("open")), (minted(R2), says("closed"))])
    assert "2 recordings fit it equally well: 00000000, 00000001" in run.ask(minted(F1))
    assert run.uses == []


def test_an_id_of_another_recording() -> None:
    """An id that another recording knows is not fresh: what it names has an answer of its own."""
    run = Run([(minted(R1), says("open")), (minted(R2, ("user", "and now?")), says("closed"))])
    assert "is not fresh: it stands in another recording" in run.ask(minted(R2))


def test_an_id_never_stands_for_two() -> None:
    """A fresh id that stood for one recorded id does not stand for another one later in the same scope."""
    run = Run([(minted(R1), says("open")), (minted(R2, temperature=1), says("closed"))])
    assert run.ask(minted(F1)) == "open"
    assert "--carry did not help" in run.ask(minted(F1, temperature=1))


def test_both_ids_in_one_request() -> None:
    """A request that names a fresh id and the recorded one for which it stands is not matched."""
    with pytest.raises(Exception, match="it names"):
        with_recorded_ids(MATCHER, chat(("user", f"{F1} or {R1}")), {F1: R1})
    with pytest.raises(Exception, match="two of its ids"):
        with_recorded_ids(MATCHER, chat(("user", f"{F1} or {F2}")), {F1: R1, F2: R1})


def test_scopes_do_not_know_one_another() -> None:
    """Scopes have ids of their own, and forget them with a reset."""
    go_on = chat(("user", f"close {R1}"))
    run = Run([(minted(R1), says("ok")), (go_on, says("closed"))], AtEnd.CYCLE)
    run.ask(minted(F1, scope="/t/a"))
    assert "--carry did not help" in run.ask(chat(("user", f"close {F1}"), scope="/t/b"))
    assert run.ask(chat(("user", f"close {F1}"), scope="/t/a")) == "closed"
    run.carry.reset("a")
    assert "--carry did not help" in run.ask(chat(("user", f"close {F1}"), scope="/t/a"))


def test_an_answer_that_cannot_be_changed() -> None:
    """An answer that names the id by a part is a miss with its reason, and its recording can be asked for again."""
    run = Run([(minted(R1), says("the one with 81c2f0"))])
    for _ in range(2):
        text = run.ask(minted(F1))
        assert "its answer cannot have the fresh ids of --carry: the recorded answer names `T-81c2f0` by a part" in text
    assert run.counters.requests["replay"] == 0


def test_a_list_that_is_at_its_end() -> None:
    """A request with a fresh id counts in the list of the recording for which it stands."""
    run = Run([(minted(R1), says("ok"))])
    assert run.ask(minted(F1)) == "ok"
    assert "was recorded once and is asked for the 2nd time" in run.ask(minted(F2))


def test_another_difference_is_a_miss_with_the_reason() -> None:
    """What differs besides ids is named in the miss."""
    run = Run([(minted(R1), says("ok"))])
    assert "(--carry did not help: $.messages[0].content has another length.)" in run.ask(
        chat(("user", "close one"), ("tool", f"ticket {F1}"))
    )


def test_ids_that_are_remembered_are_bounded() -> None:
    """A scope remembers so many ids; the oldest goes first."""
    run = Run([(minted(R1), says("ok"))], AtEnd.CYCLE)
    for number in range(MOST_IDS + 5):
        assert run.ask(minted(f"T-{number * 2654435761 % 2**24:06x}".replace("T-81", "T-7e"))) == "ok"
    assert repr(run.carry) == f"<Carry {MOST_IDS} ids>"
