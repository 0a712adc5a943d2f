"""Uses of `--carry`: a fresh id that stood for a recorded one, in which scope, in which recording, how often.

A value that a run counts by, and the entry of its result that is made of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from replayproxy.views.units import plural

OTHERS = "others"
"""In the place of ids where there were too many to list each of them."""


@dataclass(frozen=True, slots=True)
class CarriedUse:
    """What is counted. `recording` is the id of the recording that was played."""

    scope: str
    recording: str
    recorded: str
    fresh: str


@dataclass(frozen=True, slots=True)
class CarriedId:
    """A use with its counts: in how many requests the fresh id was matched, and in how many answers it was put."""

    scope: str
    recording: str
    recorded: str
    fresh: str
    requests: int
    answers: int

    @property
    def sentence(self) -> str:
        """Say it on one line."""
        scope = f", scope {self.scope}" if self.scope else ""
        uses = f"{plural(self.requests, 'request')}, {plural(self.answers, 'answer')}"
        return f"{self.fresh} stood for the recorded {self.recorded} ({uses} of {self.recording}{scope})"

    def document(self) -> dict[str, Any]:
        """Return its JSON object."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: object) -> CarriedId:
        """Read what `document` returned. Raises `ValueError`."""
        names = ("scope", "recording", "recorded", "fresh", "requests", "answers")
        values = [document.get(name) for name in names] if isinstance(document, dict) else []
        match values:
            case [str(scope), str(recording), str(recorded), str(fresh), int(requests), int(answers)]:
                return cls(scope, recording, recorded, fresh, requests, answers)
        raise ValueError("a carried id lacks its recording, its ids or its counts")

    @classmethod
    def of(cls, uses: Mapping[CarriedUse, tuple[int, int]]) -> tuple[CarriedId, ...]:
        """Make one of each use."""
        return tuple(
            cls(use.scope, use.recording, use.recorded, use.fresh, requests, answers)
            for use, (requests, answers) in uses.items()
        )


def merged_ids(carried: Iterable[CarriedId]) -> Iterator[CarriedId]:
    """Equal uses of several proxies as one, in the order of the first."""
    found: dict[tuple[str, ...], CarriedId] = {}
    for one in carried:
        place = (one.scope, one.recording, one.recorded, one.fresh)
        before = found.get(place, replace(one, requests=0, answers=0))
        found[place] = replace(before, requests=before.requests + one.requests, answers=before.answers + one.answers)
    yield from found.values()
