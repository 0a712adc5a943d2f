"""Masks that replace secrets: of equal length, safe within a JSON string, a URL and a header, and recognisable.

    *~redacted~*****     a credential of the request: equal for all credentials, so that another key finds the recording
    *~0f3a…~***          any other secret: a keyed hash, so that different secrets stay different
    ******               too short for either

No key pattern contains a `*`, so a mask is never taken for a key, not even together with its neighbours.
"""

from __future__ import annotations

import hashlib
import re

MIN_LABELLED = 8
"""Bytes; a shorter mask consists of stars only."""

HASH_DIGITS = 16
"""Hex digits of the hash: 64 bits."""

MASK = re.compile(rb"\*~(?:[0-9a-f]{4,16}|reda(?:c(?:t(?:ed?)?)?)?)~\*+")

_CONSTANT = re.compile(rb"\*~reda(?:c(?:t(?:ed?)?)?)?~\*+")
_HASHED = re.compile(rb"(\*~[0-9a-f]{16}~)\*+")


def constant(size: int) -> bytes:
    """Return the mask of a credential."""
    return _labelled(b"redacted", size)


def hashed(size: int, secret: bytes, salt: bytes) -> bytes:
    """Return the mask of any other secret. The salt belongs to one cassette, so hashes of two cassettes cannot be
    compared."""
    return _labelled(hashlib.blake2b(secret, key=salt, digest_size=HASH_DIGITS // 2).hexdigest().encode(), size)


def number(size: int) -> bytes:
    """Return the mask of a JSON number or another unquoted word: a number of that length."""
    return b"9" * size


def _labelled(label: bytes, size: int) -> bytes:
    return b"*" * size if size < MIN_LABELLED else (b"*~" + label[: size - 4] + b"~*").ljust(size, b"*")


def is_mask(text: bytes) -> bool:
    """Return whether the text is a mask already."""
    return not text.strip(b"*") or MASK.fullmatch(text) is not None


def may_contain_mask(text: bytes) -> bool:
    """Return whether the text may contain a mask. (A single letter is found 30 times faster than two.)"""
    return b"~" in text and b"*~" in text


def without_lengths(text: bytes) -> bytes:
    """Return the text with each mask at its shortest, for comparison: the length of a mask is that of the secret, and
    another credential, or the same one with escapes, has another length."""
    if not may_contain_mask(text):
        return text
    return _HASHED.sub(rb"\1*", _CONSTANT.sub(b"*~redacted~*", text))


def without_hashes(text: bytes) -> bytes:
    """Return the text with each mask as that of a credential: masks of two cassettes can be compared only so."""
    if not may_contain_mask(text):
        return text
    return _HASHED.sub(b"*~redacted~*", without_lengths(text))
