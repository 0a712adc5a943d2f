"""Timeline to Timeline: how fast to play. Numbers only; no bytes, no clock."""

from __future__ import annotations

from dataclasses import dataclass

from replayproxy.model import Timeline

STALL = 30.0
"""Seconds that an answer is held open whose recorded client had left in the middle. Longer than any client needs to
leave again where it did; shorter than the 60 s after which proxies (nginx, AWS) and tests usually give up on a silent
stream, so that a client which does not leave sees our unclean end and not somebody's time-out."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`speed` 1 as recorded, 2 twice as fast, 0.5 half; None as fast as possible."""

    speed: float | None = None

    def __post_init__(self) -> None:
        if self.speed is not None and not 0 < self.speed < float("inf"):
            raise ValueError(f"speed must be a positive number or max, not {self.speed}")

    def __call__(self, recorded: Timeline) -> Timeline | None:
        """When everything is due, in ns since the request was complete. None: all of it at once."""
        if self.speed is None:
            return None
        if self.speed == 1:
            return recorded
        return Timeline(
            head=round(recorded.head / self.speed),
            chunks=tuple(round(at / self.speed) for at in recorded.chunks),
            end=round(recorded.end / self.speed),
        )
