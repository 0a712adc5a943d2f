"""Which fault a request gets. Draws come from (seed, key, occurrence); counts are per scope.

`rate` draws for each request by itself, so that equal runs have the same faults at any concurrency. `first` and `every`
count the requests of one scope in their order, because that is what they say.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from replayproxy.core.faults.failure_answers import FAILURE_TYPES
from replayproxy.core.faults.grammar import Fault, FaultKind
from replayproxy.core.policy import PROBES
from replayproxy.model import Key

MOST_LISTS = 100_000
"""Lists of equal requests, and counts of scopes, that are kept, about 25 MB each: those that were used least recently
are dropped, and count from 0 again."""

_COUNT_BYTES = 250

ABOUT_SERVER = PROBES | {"/ready", "/health/ready"}
"""What orchestrators ask: a fault there would have the server restarted, and no client tested."""

GENERATION = frozenset(
    {"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/inference/v1/generate"}
)
"""The paths that llm-d-inference-sim injects failures into."""


def fraction(seed: int, key: Key, occurrence: int, purpose: str) -> float:
    """A number from 0 to below 1 that follows from its arguments alone."""
    text = f"{seed}\0{key}\0{occurrence}\0{purpose}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) / 2**64


@dataclass(frozen=True, slots=True)
class FailureInjection:
    """`--failure-injection-rate` and `--failure-types`: a share of requests in percent, and what they may get."""

    percent: int = 0
    types: tuple[str, ...] = ()

    def draw(self, seed: int, key: Key, occurrence: int) -> Fault | None:
        """The failure of one request, if it gets one: a whole number from 1 to 100 is not above the rate."""
        if not self.percent or int(fraction(seed, key, occurrence, "failure") * 100) + 1 > self.percent:
            return None
        types = self.types or tuple(FAILURE_TYPES)
        name = types[int(fraction(seed, key, occurrence, "type") * len(types))]
        return Fault(FaultKind.STATUS, f"failure={name}", status=FAILURE_TYPES[name].status, failure=name)


@dataclass(frozen=True, slots=True)
class FaultSubject:
    """What a choice looks at. `model` is that of the request; None if it names none."""

    method: str
    path: str
    model: str | None
    key: Key
    scope: str = ""


class FaultChooser:
    """Chooses the fault of each request, the first one that fits in the order in which they were given."""

    def __init__(
        self, faults: Sequence[Fault] = (), injection: FailureInjection = FailureInjection(), *, seed: int = 0
    ) -> None:
        self._faults = tuple(faults)
        self._injection = injection
        self._seed = seed
        self._occurrences: OrderedDict[tuple[str, Key], int] = OrderedDict()
        self._counts: OrderedDict[tuple[str, int], tuple[int, int]] = OrderedDict()
        """By scope and fault: the requests that fitted, and those that got it."""

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Those that it chooses from."""
        return self._faults

    @property
    def injection(self) -> FailureInjection:
        """The share of requests that get a failure."""
        return self._injection

    def change(self, faults: Sequence[Fault], injection: FailureInjection) -> None:
        """Choose from these from now on. `first` and `every` count from 0 again; occurrences of requests go on."""
        self._faults = tuple(faults)
        self._injection = injection
        self._counts.clear()

    def choose(self, subject: FaultSubject, by_header: Fault | None = None) -> Fault | None:
        """The fault of this request, which counts from now on. `by_header`: what the request itself asks for."""
        occurrence = self._occurrences.pop((subject.scope, subject.key), 0)
        self._occurrences[subject.scope, subject.key] = occurrence + 1
        if len(self._occurrences) > MOST_LISTS:
            self._occurrences.popitem(last=False)
        if by_header is not None:
            return by_header if fraction(self._seed, subject.key, occurrence, "header") < by_header.rate else None
        # A browser asks for leave before it sends the request: to break that tests the browser, and not the client.
        if subject.method == "OPTIONS":
            return None
        for index, fault in enumerate(self._faults):
            if _fits(fault, subject) and self._applies(fault, index, subject, occurrence):
                return fault
        if subject.method == "POST" and subject.path in GENERATION:
            return self._injection.draw(self._seed, subject.key, occurrence)
        return None

    def _applies(self, fault: Fault, index: int, subject: FaultSubject, occurrence: int) -> bool:
        place = (subject.scope, index)
        fitting, given = self._counts.pop(place, (0, 0))
        fitting += 1
        chosen = (
            fitting % fault.every == 0
            and (fault.first is None or given < fault.first)
            and (fault.rate >= 1 or fraction(self._seed, subject.key, occurrence, f"fault {index}") < fault.rate)
        )
        self._counts[place] = (fitting, given + chosen)
        if len(self._counts) > MOST_LISTS:
            self._counts.popitem(last=False)
        return chosen

    @property
    def bytes(self) -> int:
        """About how much memory the counts take."""
        return _COUNT_BYTES * (len(self._occurrences) + len(self._counts))

    def reset(self, scope: str | None = None) -> None:
        """Count from 0 again, in this scope or in all."""
        for key in [place for place in self._occurrences if scope in (None, place[0])]:
            del self._occurrences[key]
        for place in [place for place in self._counts if scope in (None, place[0])]:
            del self._counts[place]


def _fits(fault: Fault, subject: FaultSubject) -> bool:
    if fault.path is None:
        # Questions about the server itself, such as /health, are asked by orchestrators: only a path names them.
        if subject.path in ABOUT_SERVER:
            return False
    elif not fnmatchcase(subject.path, fault.path):
        return False
    return fault.model is None or fnmatchcase(subject.model or "", fault.model)
