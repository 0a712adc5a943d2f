"""What a fault does to one answer, chunk by chunk: a small state machine that says what to do next.

chunk 0 … at-1   pass                     cut, cut-clean, reset: nothing after `at` chunks
chunk at         the fault happens        stall: a pause, then everything; garbage: other bytes in this chunk
"""

from __future__ import annotations

import random
from enum import Enum

from replayproxy.core import headers
from replayproxy.core.faults.grammar import Fault, FaultKind
from replayproxy.model import Headers


class Action(Enum):
    """What to do before a chunk, or at the end of the answer."""

    SEND = "send"
    PAUSE = "pause"
    CUT = "cut"
    END_CLEANLY = "end cleanly"
    RESET = "reset"


_ACTIONS = {
    FaultKind.CUT: Action.CUT,
    FaultKind.CUT_CLEAN: Action.END_CLEANLY,
    FaultKind.RESET: Action.RESET,
    FaultKind.STALL: Action.PAUSE,
    FaultKind.GARBAGE: Action.SEND,
}

_TRUNCATING = {FaultKind.CUT, FaultKind.CUT_CLEAN, FaultKind.RESET}


class Delivery:
    """One fault in one answer. `draw` is what the bytes of garbage follow from.

    For faults that have a position; what comes in place of an answer, or before it, is not here.
    """

    def __init__(self, fault: Fault, draw: str) -> None:
        self.fault = fault
        self.has_fired = False
        self.chunks = 0
        """Chunks that passed or were replaced."""
        self._draw = draw
        self._has_length = False

    @property
    def before(self) -> int:
        """How many chunks pass before the fault; a large number if it has happened."""
        return self.fault.at - self.chunks if not self.has_fired else 1 << 62

    def skip(self, chunks: int) -> None:
        """So many chunks have passed, not more than `before`."""
        self.chunks += chunks

    def head(self, fields: Headers) -> Headers:
        """The field lines that the client gets. Without Content-Length, a body that ends early ends properly."""
        self._has_length = headers.get(fields, "content-length") is not None
        if self.fault.kind is FaultKind.CUT_CLEAN:
            return headers.without(fields, "content-length")
        return fields

    def step(self, data: bytes) -> tuple[Action, bytes]:
        """What to do before this chunk, and the bytes to send then."""
        action = Action.SEND
        if not self.has_fired and self.chunks == self.fault.at:
            self.has_fired = True
            action = _ACTIONS[self.fault.kind]
            if self.fault.kind is FaultKind.GARBAGE:
                data = garbage(data, self._draw)
            elif self.fault.kind in _TRUNCATING:
                return action, b""
        self.chunks += 1
        return action, data

    def at_end(self) -> Action:
        """What to do where the source has ended the answer.

        After the last chunk of a chunked body its end is missing. A body with a Content-Length is whole by then, and so
        is one that would be cut cleanly: no client can see a difference, and the fault has not happened.
        """
        reached = not self.has_fired and self.chunks == self.fault.at
        if not reached or self._has_length or self.fault.kind in (FaultKind.CUT_CLEAN, FaultKind.GARBAGE):
            return Action.SEND
        self.has_fired = True
        return _ACTIONS[self.fault.kind]


def is_truncating(fault: Fault) -> bool:
    """Whether a client may take the beginning of an answer for all of it."""
    return fault.kind in (FaultKind.CUT, FaultKind.CUT_CLEAN) or (fault.kind is FaultKind.RESET and fault.at > 0)


def garbage(data: bytes, draw: str) -> bytes:
    """As many bytes as `data` that are neither JSON nor UTF-8; of an event its field name and its end stay.

    As many, so that a Content-Length stays true. Without line ends, so that the events after it stay whole.
    """
    start = len(b"data: ") if data.startswith(b"data: ") else 0
    body = data.rstrip(b"\r\n")
    stop = len(body) if len(body) > start else len(data)
    chance = random.Random(draw)
    drawn = bytes(chance.choice(_NOISE) for _ in range(max(0, stop - start - 1)))
    # 0xFF occurs nowhere in UTF-8 (RFC 3629 section 3).
    return data[:start] + (b"\xff" + drawn if stop > start else b"") + data[stop:]


_NOISE = bytes(byte for byte in range(256) if byte not in b"\r\n")
