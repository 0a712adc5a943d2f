"""How long a client may take, and how many there may be: each limit with its meaning. Values only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a client may take, in seconds, and how many there may be. 0 connections: no bound."""

    header_timeout: float = 30.0
    """From the first byte of a request to the end of its head."""
    body_timeout: float = 60.0
    """Without a byte of a body that somebody waits for."""
    idle_timeout: float = 75.0
    """Without a request."""
    send_timeout: float = 60.0
    """In which a client takes nothing of its answer."""
    connections: int = 4096
    """At once. Beyond it the one that has rested longest is closed, and where none rests a new one gets 503."""
    body: int = 128 * 1024 * 1024
    """Bytes of a request that are kept and compared. A longer one is recorded cut, and no recording answers it."""

    @property
    def shortest(self) -> float:
        """The shortest of the times."""
        return min(self.header_timeout, self.body_timeout, self.idle_timeout, self.send_timeout)
