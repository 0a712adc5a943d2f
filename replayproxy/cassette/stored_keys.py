"""Keys and digests as a cassette stores them: the bytes of the hash, without the tag that says how it was derived."""

from __future__ import annotations

from replayproxy.model import KEY_TAG, Key


def key_bytes(key: Key) -> bytes:
    """Return a key as it is stored."""
    return bytes.fromhex(key.partition(":")[2])


def key_text(stored: bytes) -> Key:
    """Return a stored key as it is everywhere else."""
    return f"{KEY_TAG}:{stored.hex()}"


def digests_from(prefix: str) -> tuple[bytes, bytes]:
    """Return where digests that begin with these hex digits begin, and what comes behind the last of them.

    Without digits that is all of them. A range, unlike a pattern on their hex digits, can be looked up in an index.
    """
    digits = prefix.lower()
    if not digits:
        return b"", b"\xff" * 33
    first = bytes.fromhex(digits + "0" * (len(digits) % 2))
    behind = int(digits, 16) + 1
    if behind == 16 ** len(digits):
        return first, b"\xff" * 33  # longer than any digest is
    following = f"{behind:0{len(digits)}x}"
    return first, bytes.fromhex(following + "0" * (len(digits) % 2))
