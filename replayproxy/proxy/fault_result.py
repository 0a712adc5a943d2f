"""The faults of a run as a report has them: by the fault's text, with what the clients did. Plain values, to and from
JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from replayproxy.core.faults.conduct import (
    MISHANDLED,
    NOT_INJECTED,
    Outcome,
    Sighting,
    judge_conduct,
)
from replayproxy.core.faults.grammar import BadFault, parse_fault

LISTED = 100
"""Faults of one text that a report lists one by one."""


@dataclass(frozen=True, slots=True)
class ClientFault:
    """One fault, and what its client did: `outcome` is a word of `Outcome`, `sentence` says it in full."""

    id: str
    fault: str
    """As it was given: `cut@12,rate=0.1`."""
    method: str
    path: str
    scope: str
    outcome: Outcome
    sentence: str
    retries: int = 0
    """How often the client asked again."""

    @property
    def is_mishandled(self) -> bool:
        """Whether `--assert-resilient` fails because of it."""
        return self.outcome in MISHANDLED

    def document(self) -> dict[str, Any]:
        """Return its JSON object."""
        return {
            "id": self.id,
            "method": self.method,
            "path": self.path,
            "scope": self.scope,
            "outcome": self.outcome.value,
            "mishandled": self.is_mishandled,
            "sentence": self.sentence,
            "retries": self.retries,
        }

    @classmethod
    def from_document(cls, fault: str, document: Any) -> ClientFault:
        """Read what `document` returned. Raises `ValueError`."""
        match document:
            case {"id": str(id), "outcome": str(outcome), "sentence": str(sentence)}:
                text = {name: str(document.get(name, "")) for name in ("method", "path", "scope")}
                retries = document.get("retries", 0)
                return cls(id, fault, outcome=Outcome(outcome), sentence=sentence, retries=int(retries), **text)
        raise ValueError("a fault lacks its id, outcome or sentence")


@dataclass(frozen=True, slots=True)
class FaultResult:
    """All faults of one text. `outcomes` counts all of them, `clients` has the first `LISTED`."""

    fault: str
    outcomes: Mapping[Outcome, int]
    clients: tuple[ClientFault, ...] = ()

    @property
    def injected(self) -> int:
        """How often it happened."""
        return sum(count for outcome, count in self.outcomes.items() if outcome not in NOT_INJECTED)

    @property
    def mishandled(self) -> int:
        """How often a client did not do what it should."""
        return sum(count for outcome, count in self.outcomes.items() if outcome in MISHANDLED)

    @classmethod
    def of(cls, fault: str, clients: Sequence[ClientFault], counted: Mapping[Outcome, int]) -> FaultResult:
        """Count the clients, and those that are counted only."""
        outcomes = Counter(client.outcome for client in clients) + Counter(dict(counted))
        return cls(fault, dict(sorted(outcomes.items())), tuple(clients[:LISTED]))

    def after_command(self) -> FaultResult:
        """The same after a command that ended with exit code 0: who did not ask again after a cut, accepted it.

        Only those that are listed: of the others it is not known whether they asked again.
        """
        try:
            fault = parse_fault(self.fault)
        except BadFault:  # a limit, such as --rpm 3
            return self
        outcome, sentence = judge_conduct(Sighting(fault, command_succeeded=True))
        clients = tuple(
            replace(client, outcome=outcome, sentence=sentence)
            if client.outcome is Outcome.GAVE_UP
            and not client.retries
            and outcome is not Outcome.GAVE_UP
            and not client.sentence.startswith("left")
            else client
            for client in self.clients
        )
        changed = Counter(self.outcomes)
        changed.subtract(client.outcome for client in self.clients)
        changed.update(client.outcome for client in clients)
        return FaultResult(self.fault, {key: count for key, count in sorted(changed.items()) if count}, clients)

    def document(self) -> dict[str, Any]:
        """Return its JSON object."""
        return {
            "fault": self.fault,
            "injected": self.injected,
            "mishandled": self.mishandled,
            "outcomes": {outcome.value: count for outcome, count in self.outcomes.items()},
            "clients": [client.document() for client in self.clients],
        }

    @classmethod
    def from_document(cls, document: Any) -> FaultResult:
        """Read what `document` returned. Raises `ValueError`."""
        match document:
            case {"fault": str(fault), "outcomes": dict(outcomes), "clients": [*clients]}:
                counts = {Outcome(name): int(count) for name, count in outcomes.items()}
                return cls(fault, counts, tuple(ClientFault.from_document(fault, client) for client in clients))
        raise ValueError("a fault lacks its text, outcomes or clients")


def merged_faults(parts: Iterable[FaultResult]) -> tuple[FaultResult, ...]:
    """One result per fault's text, in the order of the first of each."""
    found: dict[str, FaultResult] = {}
    for part in parts:
        first = found.get(part.fault)
        if first is None:
            found[part.fault] = part
            continue
        outcomes = Counter(dict(first.outcomes)) + Counter(dict(part.outcomes))
        clients = (*first.clients, *part.clients)[:LISTED]
        found[part.fault] = FaultResult(part.fault, dict(sorted(outcomes.items())), clients)
    return tuple(found.values())
