"""What was asked, and what became of it, one entry a request, for those who want to look at it afterwards: a test.

Knows no answer's bytes; a proxy keeps no journal unless it is given one, for it grows with every request.
"""

from __future__ import annotations

from dataclasses import dataclass

from replayproxy.model import Place, Request


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `outcome` is what the tally counts it as; `place` is set for a replay, `miss` names a miss."""

    request: Request
    scope: str
    outcome: str
    place: Place | None = None
    miss: str | None = None


class Journal:
    """All calls, in the order in which they were decided."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def of(self, scope: str) -> list[Call]:
        """The calls of one scope."""
        return [call for call in self.calls if call.scope == scope]
