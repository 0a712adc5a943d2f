"""One answered request as a line of the access log shows it. Plain values: nothing secret is in it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from replayproxy.views.units import moment


class Outcome(StrEnum):
    """What became of a request."""

    RECORDED = "recorded"
    REPLAYED = "replayed"
    FORWARDED = "forwarded"
    SIMULATED = "simulated"
    ANSWERED = "answered"
    """By the proxy itself, as `/health` in a replay."""
    MISS = "miss"
    DAMAGED = "damaged"
    FAILED = "failed"
    """The server gave no answer."""


@dataclass(frozen=True, slots=True)
class AccessEntry:
    """One request and its answer. Times are in seconds since the request was complete; None: not known."""

    at: int
    """When the request came, in ns since the Unix epoch."""
    method: str
    path: str
    """Without its query, in which a key may stand."""
    outcome: Outcome
    status: int
    """0 where the answer has none."""
    total_s: float
    model: str | None = None
    tokens: int | None = None
    """Of the answer."""
    ttft_s: float | None = None
    first_words: str = ""
    """Empty where the answer was not looked at."""
    id: str | None = None
    """Of the recording, as `show` takes it."""
    ending: str = "complete"
    cause: str | None = None
    """The code of a miss, or why there is no answer."""
    differs: str | None = None
    """The first JSON path at which a miss differs from the nearest recording."""


def fields_of(entry: AccessEntry) -> dict[str, Any]:
    """Return what JSON has of an entry: the fields that are known, under their names."""
    values = {
        "received_at": moment(entry.at).replace(" ", "T") + "Z",
        "method": entry.method,
        "path": entry.path,
        "model": entry.model,
        "status": entry.status,
        "outcome": str(entry.outcome),
        "id": entry.id,
        "tokens": entry.tokens,
        "ttft_s": entry.ttft_s,
        "total_s": entry.total_s,
        "first_words": entry.first_words or None,
        "ending": entry.ending,
        "cause": entry.cause,
        "differs": entry.differs,
    }
    return {name: value for name, value in values.items() if value is not None}
