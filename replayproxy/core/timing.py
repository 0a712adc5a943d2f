"""How fast to play: recorded times to the times at which something is due. Numbers only; no bytes, no clock."""

from __future__ import annotations

from dataclasses import dataclass

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

    def at(self, recorded: int) -> int:
        """When it is due, both in ns since the request was complete; 0 where everything is due at once.

        One time after the other: a second list of the times of 80 000 chunks takes 3 MB for each client.
        """
        if self.speed is None:
            return 0
        return recorded if self.speed == 1 else round(recorded / self.speed)
