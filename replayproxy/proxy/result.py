"""The result of a run: answers served, misses, recordings that were not used.

A value, made of what a proxy has counted. It goes to JSON (`document`, `encoded`) and comes back (`from_document`), so
that a report file can be read by another process; `merged` makes one result of those of several proxies. Does not know
how it is printed; `verdict` says which exit code it gives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import orjson

from replayproxy.model import RecordingRef
from replayproxy.proxy.carried_ids import CarriedId, merged_ids
from replayproxy.proxy.fault_result import FaultResult, merged_faults
from replayproxy.views.miss import UNPLAYABLE, Miss

PART = 1000
"""Entries of a list that are turned into JSON at a time: 2 ms."""


@dataclass(frozen=True, slots=True)
class RecordingInfo:
    """A playable answer on a cassette, by the names that `ls` and `show` give it."""

    cassette: str
    id: str
    place: RecordingRef
    method: str
    path: str

    @property
    def identity(self) -> tuple[str, str, int]:
        """Equal for one recording in every result. (Its key is not: it differs where a test matches by other rules.)"""
        return self.cassette, self.id, self.place.occurrence

    def document(self) -> dict[str, Any]:
        """Return its JSON object."""
        return {
            "cassette": self.cassette,
            "id": self.id,
            "key": self.place.key,
            "occurrence": self.place.occurrence,
            "method": self.method,
            "path": self.path,
        }

    @classmethod
    def from_document(cls, document: Any) -> RecordingInfo:
        """Read what `document` returned. Raises `ValueError`."""
        match document:
            case {"cassette": str(cassette), "id": str(id), "key": str(key), "occurrence": int(occurrence)}:
                text = {name: str(document.get(name, "")) for name in ("method", "path")}  # not in every old report
                return cls(cassette, id, RecordingRef(key, occurrence), **text)
        raise ValueError("an unused recording lacks its cassette, id, key or occurrence")


@dataclass(frozen=True, slots=True)
class ReportedMiss:
    """A miss as a report has it: `document` is that of `Miss`, which has read the request."""

    code: str
    method: str
    path: str
    scope: str
    explanation: str
    _document: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the part of the report that it was read from."""
        return dict(self._document)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> ReportedMiss:
        """Read what `Miss.document` returned. Raises `ValueError`; a text that is absent is empty."""
        texts = {name: document.get(name, "") for name in ("code", "method", "path", "scope", "explanation")}
        if wrong := [name for name, text in texts.items() if not isinstance(text, str)]:
            raise ValueError(f"the {wrong[0]} of a miss is not a text")
        return cls(**texts, _document=document)


@dataclass(frozen=True, slots=True)
class Cause:
    """Equal misses: how often, and the number that the client got with its error."""

    id: str
    miss: Miss | ReportedMiss
    times: int

    def document(self) -> dict[str, Any]:
        """Return its JSON object."""
        return {"id": self.id, "times": self.times, **self.miss.document()}

    @classmethod
    def from_document(cls, document: object) -> Cause:
        """Read what `document` returned. Raises `ValueError`."""
        if not isinstance(document, dict):
            raise ValueError("a miss is not an object")
        id, times, miss = document.get("id", ""), document.get("times", 1), document.copy()
        if not isinstance(id, str) or not isinstance(times, int):
            raise ValueError("a miss lacks its id or its count")
        miss.pop("id", None)
        miss.pop("times", None)
        return cls(id, ReportedMiss.from_document(miss), times)


@dataclass(frozen=True, slots=True)
class RunResult:
    """One run. `lateness_max` in seconds."""

    mode: str
    cassettes: tuple[str, ...]
    recordings: int
    """Playable answers when the run ended."""
    served: int
    """Answers that came from recordings."""
    forwarded: int
    recorded: int
    dropped: int
    simulated: int
    causes: tuple[Cause, ...]
    unused: tuple[RecordingInfo, ...]
    lateness_max: float
    forgotten: Mapping[str, int] = field(default_factory=dict)
    """By code, how often requests had no answer whose causes are not among `causes`: there were too many."""
    damage: str = ""
    """Why the recordings could not all be listed; empty where they could. Those that were read are in the report."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the cassettes as they were played, by path; without one `prune` does not delete what is unused."""
    faults: tuple[FaultResult, ...] = ()
    """Injected faults, and what the clients did."""
    carried: tuple[CarriedId, ...] = ()
    """Ids of `--carry`, each with how often it was used."""

    @property
    def injected(self) -> int:
        """How many faults happened."""
        return sum(fault.injected for fault in self.faults)

    @property
    def mishandled(self) -> int:
        """How many of them a client mishandled."""
        return sum(fault.mishandled for fault in self.faults)

    @property
    def misses(self) -> int:
        """Requests that no recording answered, the equal ones counted each."""
        return self._times() - self.damaged

    @property
    def damaged(self) -> int:
        """Requests whose recording is there, but is not what was written."""
        return self._times(UNPLAYABLE)

    @property
    def unexplained(self) -> int:
        """Requests without an answer of whose causes nothing more is known."""
        return sum(self.forgotten.values())

    def _times(self, code: str | None = None) -> int:
        listed = sum(cause.times for cause in self.causes if code in (None, cause.miss.code))
        return listed + sum(times for of, times in self.forgotten.items() if code in (None, of))

    @property
    def vacuous(self) -> bool:
        """Whether nothing was served: such a run is no pass."""
        return not (self.served or self.recorded or self.forwarded or self.simulated or self.injected)

    @classmethod
    def empty(cls, mode: str, cassettes: tuple[str, ...] = ()) -> RunResult:
        """Make the result of a run without a request."""
        return cls(
            mode=mode,
            cassettes=cassettes,
            recordings=0,
            served=0,
            forwarded=0,
            recorded=0,
            dropped=0,
            simulated=0,
            causes=(),
            unused=(),
            lateness_max=0.0,
        )

    @classmethod
    def merged(cls, results: Iterable[RunResult]) -> RunResult:
        """Make one result of several proxies' results, in their order. Raises `ValueError` if there are none.

        A recording is unused if no proxy that played its cassette used it. Recordings of a cassette that several played
        are counted once. Each proxy has numbered its misses itself, so ids of causes may be there twice; equal misses
        are one cause, with the id of the first. A cassette of which proxies saw different contents has no digest.
        """
        parts = list(results)
        if not parts:
            raise ValueError("a merged result needs a result to begin with")
        return cls(
            mode=parts[0].mode if len({part.mode for part in parts}) == 1 else "mixed",
            cassettes=tuple(dict.fromkeys(name for part in parts for name in part.cassettes)),
            recordings=_recordings(parts),
            served=sum(part.served for part in parts),
            forwarded=sum(part.forwarded for part in parts),
            recorded=sum(part.recorded for part in parts),
            dropped=sum(part.dropped for part in parts),
            simulated=sum(part.simulated for part in parts),
            causes=_merged_causes(cause for part in parts for cause in part.causes),
            unused=_unused_in_all(parts),
            lateness_max=max(part.lateness_max for part in parts),
            forgotten=dict(sum((Counter(part.forgotten) for part in parts), Counter())),
            damage="; ".join(dict.fromkeys(part.damage for part in parts if part.damage)),
            digests=_agreed(part.digests for part in parts),
            faults=merged_faults(fault for part in parts for fault in part.faults),
            carried=tuple(merged_ids(carried for part in parts for carried in part.carried)),
        )

    @classmethod
    def from_document(cls, document: Any) -> RunResult:
        """Read a document, or a report file that holds one. Raises `ValueError` with what is missing.

        Counts that a report does not have are 0: reports of older versions have fewer. Of misses that are not listed
        the document gives only the total, which is kept under an empty code.
        """
        match document:
            case {"served": int(served), "misses": [*misses], "unused": [*unused]}:
                pass
            case _:
                raise ValueError("it has no served, misses and unused")
        counts = {
            name: _count(document, name) for name in ("recordings", "forwarded", "recorded", "dropped", "simulated")
        }
        digests = document.get("sha256", {})
        if not isinstance(digests, dict) or not all(isinstance(digest, str) for digest in digests.values()):
            raise ValueError("sha256 is not an object of texts")
        lateness, not_listed = document.get("lateness_max_s", 0.0), _count(document, "misses_not_listed")
        if not isinstance(lateness, int | float):
            raise ValueError("lateness_max_s is not a number")
        return cls(
            mode=str(document.get("mode", "replay")),
            cassettes=tuple(map(str, document.get("cassettes", ()))),
            served=served,
            causes=tuple(map(Cause.from_document, misses)),
            unused=tuple(map(RecordingInfo.from_document, unused)),
            lateness_max=float(lateness),
            forgotten={"": not_listed} if not_listed else {},
            damage=str(document.get("damage", "")),
            digests=digests,
            faults=tuple(map(FaultResult.from_document, document.get("faults", ()))),
            carried=tuple(map(CarriedId.from_document, document.get("carried", ()))),
            **counts,
        )

    def document(self) -> dict[str, Any]:
        """Return its JSON object. Times in seconds."""
        return self._figures() | {name: [item.document() for item in items] for name, items in self._lists().items()}

    def encoded(self) -> Iterator[bytes]:
        """The document as JSON, in parts. Each takes a few milliseconds to make, and nothing else runs meanwhile."""
        yield orjson.dumps(self._figures())[:-1]
        for name, items in self._lists().items():
            yield b',"%b":[' % name.encode()
            for first in range(0, len(items), PART):
                part = orjson.dumps([item.document() for item in items[first : first + PART]])[1:-1]
                yield b"," + part if first else part
            yield b"]"
        yield b"}"

    def _lists(self) -> dict[str, Sequence[Cause | RecordingInfo | FaultResult | CarriedId]]:
        lists: dict[str, Sequence[Cause | RecordingInfo | FaultResult | CarriedId]] = {
            "misses": self.causes,
            "unused": self.unused,
            "faults": self.faults,
            "carried": self.carried,
        }
        return {name: entries for name, entries in lists.items() if entries or name in ("misses", "unused")}

    def _figures(self) -> dict[str, Any]:
        return {
            "mode": self.mode,
            "cassettes": list(self.cassettes),
            "recordings": self.recordings,
            "served": self.served,
            "forwarded": self.forwarded,
            "recorded": self.recorded,
            "dropped": self.dropped,
            "simulated": self.simulated,
            "lateness_max_s": self.lateness_max,
            "damaged": self.damaged,
            **({"damage": self.damage} if self.damage else {}),
            "misses_not_listed": self.unexplained,
            "sha256": dict(self.digests),
        }


def _count(document: Mapping[str, Any], name: str) -> int:
    count = document.get(name, 0)
    if not isinstance(count, int):
        raise ValueError(f"{name} is not a count")
    return count


# Several results as one


def _recordings(results: list[RunResult]) -> int:
    """The number of recordings on all cassettes: of results of the same cassettes the largest one counts."""
    by_cassettes = sorted(results, key=lambda result: result.cassettes)
    groups = groupby(by_cassettes, key=lambda result: result.cassettes)
    return sum(max(result.recordings for result in group) for _, group in groups)


def _unused_in_all(results: list[RunResult]) -> tuple[RecordingInfo, ...]:
    """What each result that has the cassette names as unused, in the order of the first."""
    unused: dict[tuple[str, str, int], RecordingInfo] = {}
    for recording in (recording for result in results for recording in result.unused):
        unused.setdefault(recording.identity, recording)
    for result in results:
        own = {recording.identity for recording in result.unused}
        unused = {
            identity: recording
            for identity, recording in unused.items()
            if recording.cassette not in result.cassettes or identity in own
        }
    return tuple(unused.values())


def _merged_causes(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    found: dict[bytes, Cause] = {}
    for cause in causes:
        content = orjson.dumps(cause.miss.document())
        first = found.setdefault(content, Cause(cause.id, cause.miss, 0))
        found[content] = Cause(first.id, first.miss, first.times + cause.times)
    return tuple(found.values())


def _agreed(mappings: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The entries of all mappings, without names to which two of them give different values."""
    values: dict[str, set[str]] = {}
    for mapping in mappings:
        for name, value in mapping.items():
            values.setdefault(name, set()).add(value)
    return {name: next(iter(several)) for name, several in values.items() if len(several) == 1}
