"""How much a file may unpack to: a small one that unpacks to gigabytes was made to exhaust whoever reads it.

What a recorder packs is seldom a hundredth of what it was; streams of one word again and again may be a thousandth.
What is in proportion costs nothing here. What is not is counted once per frame, however often that is read.
"""

from __future__ import annotations

from replayproxy.errors import Damaged

IN_PROPORTION, SMALL = 100, 16 * 1024
"""Times the packed size, and bytes, that are never counted."""

AT_ONCE = 64 * 1024 * 1024
"""Bytes that one frame, or one answer, may unpack to out of proportion: its copies in memory take 200 MB."""

IN_ALL, PER_BYTE = 200 * 1024 * 1024, 1000
"""Bytes that a file may unpack to out of proportion: these, and so many for each of its own."""


class Budget:
    """That of one file of so many bytes. May be used by several threads: a sum that is a little wrong does no harm."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._left = IN_ALL + PER_BYTE * size
        self._counted: set[int] = set()

    @staticmethod
    def at_most(packed: bytes) -> int:
        """Bytes that this may unpack to."""
        return max(AT_ONCE, SMALL + IN_PROPORTION * len(packed))

    def spend(self, packed: bytes, unpacked: int) -> None:
        """Count what this is to unpack to, before it does. Raises `Damaged`."""
        if unpacked <= SMALL + IN_PROPORTION * len(packed):
            return
        if unpacked > AT_ONCE:
            raise Damaged(
                f"{self._name} holds {len(packed)} bytes that unpack to {unpacked}, which no recorder writes: do not"
                " use it, or restore it from a copy"
            )
        which = hash((packed, unpacked))
        if which in self._counted:
            return
        self._counted.add(which)
        self._left -= unpacked
        if self._left < 0:
            raise Damaged(
                f"{self._name} unpacks to more than a recording of its size does ({IN_ALL >> 20} MiB and"
                f" {PER_BYTE} times its bytes): do not use it, or restore it from a copy"
            )
