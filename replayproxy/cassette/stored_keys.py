"""Keys as a cassette stores them: the bytes of the hash, without the tag that says how it was derived."""

from __future__ import annotations

from replayproxy.model import KEY_TAG, Key


def key_bytes(key: Key) -> bytes:
    """Return a key as it is stored."""
    return bytes.fromhex(key.partition(":")[2])


def key_text(stored: bytes) -> Key:
    """Return a stored key as it is everywhere else."""
    return f"{KEY_TAG}:{stored.hex()}"
