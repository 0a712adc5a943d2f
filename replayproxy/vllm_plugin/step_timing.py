"""How long a step of the engine lasts, and when a KV cache has arrived: deadlines, and nobody who waits.

A batch is one step and has one duration, as on a real engine: it ends when the slowest of its requests had its token
in the recording, and not before the forward time has passed. Knows no clock.
"""

from __future__ import annotations


class StepTiming:
    """The durations that the variables ask for, in ns."""

    def __init__(self, forward_time: int = 0, transfer_time: int = 0, transfer_bandwidth: int = 0) -> None:
        """`transfer_bandwidth` is in bytes per second; 0 adds no time per byte."""
        self._forward_time = forward_time
        self._transfer_time = transfer_time
        self._transfer_bandwidth = transfer_bandwidth
        self._transfers: dict[str, int] = {}

    def end_of_step(self, started_at: int, recorded_end: int, lasts: int = 0) -> int:
        """Return when a step ends that began at `started_at`, and lasts so long at least."""
        return max(recorded_end, started_at + max(lasts, self._forward_time))

    # The KV cache of a prefill, on its way to the decode server

    def begin_transfer(self, id: str, size: int, now: int) -> None:
        """A request waits for `size` bytes of KV cache from now on."""
        per_byte = size * 1_000_000_000 // self._transfer_bandwidth if self._transfer_bandwidth else 0
        self._transfers[id] = now + self._transfer_time + per_byte

    def arrived(self, now: int) -> set[str]:
        """Return the requests whose KV cache has arrived since this was asked last."""
        found = {id for id, at in self._transfers.items() if at <= now}
        for id in found:
            del self._transfers[id]
        return found

    @property
    def next_arrival(self) -> int | None:
        """When the next KV cache arrives; None while none is on its way."""
        return min(self._transfers.values(), default=None)
