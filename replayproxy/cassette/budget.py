"""Limit how much a file may unpack to: a small file that unpacks to gigabytes was made to exhaust its reader.

A recorder seldom packs to less than a hundredth; streams that repeat one word may reach a thousandth. A frame within
that proportion costs nothing here. Any other is counted once per row, however often the row is read.

Time is bounded by counting steps before they are done: chunks, header fields, events, parts of a JSON text. A limit in
seconds would refuse the same file on a slow machine and accept it on a fast one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from replayproxy.errors import Damaged

IN_PROPORTION, SMALL = 100, 16 * 1024
"""A frame is never counted up to so many times its packed size plus so many bytes."""

AT_ONCE = 64 * 1024 * 1024
"""Bytes that one frame, or one answer, may unpack to beyond its proportion: its copies in memory take 200 MB."""

IN_ALL, PER_BYTE = 200 * 1024 * 1024, 1000
"""Bytes that all frames of a file may unpack to beyond their proportion: a sum, and so many per byte of the file."""

FEW_STEPS = 64
"""Steps, beside one for each packed byte, that are never counted. A step takes about 2 us: it is a chunk of an answer,
for example, with all that `verify` does about it."""

STEPS, STEPS_PER_BYTE = 500_000, 4
"""Steps that a file may take out of proportion: these, 1 s, and so many for each of its own bytes. A real server's
answers take 0.4 steps a byte; 20 000 times one word, at equal distances, 2.4; requests that share 64 KiB of JSON, 2.7.
"""

FIELD = 4
"""Steps of a header field, which each check of an answer looks at."""

BYTES, PARTS, NUMBERS = 128, 4, 4
"""So many unpacked bytes, parts of a request's JSON text, or stored numbers, take a step."""


class OutOfProportion(Damaged):
    """Reading a small part of the file would take much memory or time."""


class Share(bytes):
    """A payload out of a bundle, in the form in which it would be stored alone."""

    stored: int
    """Bytes of the file that are its share: bytes that it would take alone may be stored once for thousands."""

    @classmethod
    def of(cls, packed: bytes, stored: int) -> Self:
        """Return the packed bytes with their share of the file."""
        made = cls(packed)
        made.stored = stored
        return made


class Budget:
    """The budget of one file of so many bytes. Threads may share it: a slightly wrong sum does no harm."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._bytes_left = IN_ALL + PER_BYTE * size
        self._steps_left = STEPS + STEPS_PER_BYTE * size
        self._counted: set[int] = set()

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the budget of a file and its log."""
        return cls(str(path), sum(map(_size, (path, Path(f"{path}-wal")))))

    @staticmethod
    def at_most(packed: bytes) -> int:
        """Return how many bytes this frame may unpack to."""
        return max(AT_ONCE, SMALL + IN_PROPORTION * len(packed))

    def spend(self, row: object, packed: bytes, unpacked: int) -> None:
        """Count the bytes that a frame unpacks to, before it is unpacked. Raises `OutOfProportion`."""
        self._refuse_spent(unpacked - 16 * len(packed) - SMALL // 4)
        if unpacked <= SMALL + IN_PROPORTION * len(packed):
            return
        if unpacked > AT_ONCE:
            raise OutOfProportion(
                f"{self._name} holds {len(packed)} bytes that unpack to {unpacked}, which no recorder writes: do not"
                " use it, or restore it from a copy"
            )
        if self._is_new(row, packed, "bytes", unpacked):
            self._bytes_left -= unpacked
            if self._bytes_left < 0:
                raise OutOfProportion(
                    f"{self._name} unpacks to more than a recording of its size does ({IN_ALL >> 20} MiB and"
                    f" {PER_BYTE} times its bytes): do not use it, or restore it from a copy"
                )

    def work(self, row: object, packed: bytes, steps: int, of: str) -> None:
        """Count the steps of reading a frame, before it is read. `of` names its part. Raises `OutOfProportion`."""
        stored = packed.stored if isinstance(packed, Share) else len(packed)
        if steps > FEW_STEPS + stored and self._is_new(row, packed, of, steps):
            self._steps_left -= steps
            self._refuse_spent(steps)

    def _refuse_spent(self, more: int) -> None:
        """Once all steps are spent, refuse a frame that needs more before it is unpacked."""
        if self._steps_left < 0 < more - FEW_STEPS:
            raise OutOfProportion(
                f"{self._name} takes far longer to read than a recording of its size does: some of its rows are a few"
                " bytes that unpack to very many chunks, fields or values. Do not use it, or restore it from a copy"
            )

    def _is_new(self, *what: object) -> bool:
        which = hash(what)
        if which in self._counted and (self._bytes_left >= 0 <= self._steps_left):
            return False
        self._counted.add(which)
        return True


def parts_of(body: bytes) -> int:
    """Return about how many values and names there are in a JSON text."""
    return sum(map(body.count, (b",", b"[", b"{")))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
