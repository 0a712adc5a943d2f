"""What became of a run: what was served, what was missed, what nobody asked for.

A value, made of what a proxy has counted; who prints it, writes it or turns it into an exit code knows how. A run that
served nothing has proven nothing, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from replayproxy.model import RecordingRef
from replayproxy.views.miss import UNPLAYABLE, Miss

PART = 1000
"""Entries of a list that are turned into JSON at a time: 2 ms."""


@dataclass(frozen=True, slots=True)
class RecordingInfo:
    """A playable answer on a cassette, by the names that people know it by."""

    cassette: str
    id: str
    place: RecordingRef
    method: str
    path: str

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "cassette": self.cassette,
            "id": self.id,
            "key": self.place.key,
            "occurrence": self.place.occurrence,
            "method": self.method,
            "path": self.path,
        }


@dataclass(frozen=True, slots=True)
class Cause:
    """Equal misses: how often, and the number under which the client was told."""

    id: str
    miss: Miss
    times: int

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"id": self.id, "times": self.times, **self.miss.document()}


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
        known = sum(cause.times for cause in self.causes if code in (None, cause.miss.code))
        return known + sum(times for of, times in self.forgotten.items() if code in (None, of))

    @property
    def vacuous(self) -> bool:
        """Whether nothing was served: such a run is no pass."""
        return not (self.served or self.recorded or self.forwarded or self.simulated)

    def document(self) -> dict[str, Any]:
        """As JSON has it. Times in seconds."""
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

    def _lists(self) -> dict[str, tuple[Cause, ...] | tuple[RecordingInfo, ...]]:
        return {"misses": self.causes, "unused": self.unused}

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
        }
