"""What was seen of faults and of the clients that got them, until it is judged.

A request continues the oldest fault of an equal request in its scope whose answer is over: so the repetitions of
parallel clients are told apart as far as requests tell it. Bounded: of more than `CASES` faults the oldest ones are
judged and only counted from then on.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, deque
from collections.abc import Container
from dataclasses import dataclass, field

import orjson

from replayproxy.core.coding import body_of
from replayproxy.core.dialects.facts import text_of
from replayproxy.core.faults.conduct import Outcome, Sighting, judge_conduct
from replayproxy.core.faults.grammar import Fault
from replayproxy.model import Ending, Headers, Key, Request, Response, Timeline
from replayproxy.proxy.fault_result import ClientFault, FaultResult

CASES = 1000
"""Faults of which everything is kept, 2 KB each without the text."""

_CASE_BYTES = 2000

RETRIES = 64
"""Repetitions of one fault whose times are kept."""

WATCHED = 100
"""Broken answers whose text is looked for in later requests."""

SHORTEST_TEXT = 12
"""Characters: a shorter beginning of an answer stands in other texts by chance."""


@dataclass(slots=True, eq=False)
class Chain:
    """Equal requests of one client, the first of which got a fault: until one of them gets a whole answer."""

    key: Key
    scope: str
    cases: list[Case] = field(default_factory=list)
    ended: int = 0
    """When the latest answer was over."""


@dataclass(slots=True, eq=False)
class Case:
    """One fault, and what was seen of its client."""

    id: str
    fault: Fault
    chain: Chain
    method: str
    path: str
    scope: str
    """Method, path and scope as people may see them."""
    has_fired: bool = True
    ended: int | None = None
    left_after: int | None = None
    retries: list[int] = field(default_factory=list)
    retry_count: int = 0
    recovered: bool = False
    echoed: bool = False
    text: str = ""
    """What the client got of the answer's text, where a fault broke it."""

    def sighting(self) -> Sighting:
        """What was seen so far."""
        return Sighting(
            self.fault,
            self.has_fired,
            self.ended,
            self.left_after,
            tuple(self.retries),
            self.retry_count,
            self.recovered,
            self.echoed,
        )

    def shown(self, outcome: Outcome, sentence: str) -> ClientFault:
        """The fault as a report has it."""
        return ClientFault(
            self.id, self.fault.text, self.method, self.path, self.scope, outcome, sentence, self.retry_count
        )


class FaultLog:
    """The faults of one run."""

    def __init__(self) -> None:
        self._cases: OrderedDict[str, Case] = OrderedDict()
        self._number = 0
        self._waiting: dict[tuple[str, Key], deque[Chain]] = {}
        self._watched: deque[Case] = deque(maxlen=WATCHED)
        self._counted: dict[str, Counter[Outcome]] = {}
        """Outcomes of the faults that are not kept any more, by the fault's text."""

    # One request

    def arrived(self, key: Key, scope: str, request: Request, now: int) -> Chain | None:
        """A request: give the chain that it continues, if it does."""
        self._look_for_echo(scope, request)
        waiting = self._waiting.get((scope, key))
        # One that was received while the client of the fault had no answer yet comes from another client.
        if not waiting or waiting[0].ended >= now:
            return None
        chain = waiting.popleft()
        if not waiting:
            del self._waiting[scope, key]
        for case in chain.cases:
            case.retry_count += 1
            if len(case.retries) < RETRIES:
                case.retries.append(now)
        return chain

    def inject(self, fault: Fault, chain: Chain, *, method: str, path: str, scope: str) -> Case:
        """A fault begins. Method, path and scope are those that people may see."""
        self._number += 1
        case = Case(f"f-{self._number:04}", fault, chain, method, path, scope)
        self._cases[case.id] = case
        if len(self._cases) > CASES:
            self._count_first()
        chain.cases.append(case)
        return case

    def over(self, chain: Chain, now: int, *, whole: bool, case: Case | None = None) -> None:
        """The client has what it gets: of `case`, where that is a fault. `whole`: it is the answer, the chain ends."""
        if case is not None:
            case.ended = now
        if whole:
            for before in chain.cases:
                before.recovered = before is not case or before.recovered
            return
        # A chain without end is a client in a loop: of its oldest faults enough repetitions have been seen.
        del chain.cases[:-RETRIES]
        chain.ended = now
        self._waiting.setdefault((chain.scope, chain.key), deque()).append(chain)
        if len(self._waiting) > CASES:
            del self._waiting[next(iter(self._waiting))]

    def watch(self, case: Case, headers: Headers, body: bytes) -> None:
        """Look for this beginning of an answer in later requests."""
        cut = Response(200, headers, body, (len(body),), Timeline(0, (0,), 0), Ending.UPSTREAM_CUT)
        text = text_of(cut).strip()
        if len(text) >= SHORTEST_TEXT:
            case.text = text
            self._watched.append(case)

    def _look_for_echo(self, scope: str, request: Request) -> None:
        if not self._watched:
            return
        body = body_of(request)
        for case in [case for case in self._watched if case.chain.scope == scope]:
            # JSON has two usual spellings of what is not ASCII.
            if orjson.dumps(case.text)[1:-1] in body or json.dumps(case.text)[1:-1].encode() in body:
                case.echoed = True
                self._watched.remove(case)

    def forget(self, scope: str | None = None) -> None:
        """Nothing that comes continues what was, in this scope or in all."""
        for place in [place for place in self._waiting if scope in (None, place[0])]:
            del self._waiting[place]
        self._watched = deque((case for case in self._watched if scope not in (None, case.chain.scope)), maxlen=WATCHED)

    def clear(self) -> None:
        """Begin anew."""
        self._cases.clear()
        self._counted.clear()
        self.forget()

    def _count_first(self) -> None:
        _, case = self._cases.popitem(last=False)
        outcome, _ = judge_conduct(case.sighting())
        self._counted.setdefault(case.fault.text, Counter())[outcome] += 1

    @property
    def bytes(self) -> int:
        """About how much memory the log takes."""
        texts = sum(len(case.text) for case in self._watched)
        return _CASE_BYTES * len(self._cases) + texts

    # Result

    def client_faults(self, scopes: Container[str] | None = None) -> list[ClientFault]:
        """The faults that are kept, of these scopes or of all, judged by what was seen so far, oldest first."""
        found = []
        for case in self._cases.values():
            if scopes is None or case.chain.scope in scopes:
                outcome, sentence = judge_conduct(case.sighting())
                found.append(case.shown(outcome, sentence))
        return found

    def results(self) -> tuple[FaultResult, ...]:
        """All faults by their text, in the order in which each was first injected."""
        kept = self.client_faults()
        texts = dict.fromkeys([*self._counted, *(fault.fault for fault in kept)])
        return tuple(
            FaultResult.of(text, [fault for fault in kept if fault.fault == text], self._counted.get(text, Counter()))
            for text in texts
        )
