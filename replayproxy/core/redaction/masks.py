"""What stands where a secret stood: as many bytes, safe within a JSON string, a URL and a header, and known again.

    *~redacted~*****     a credential of the request: the same whatever it was, so that another key finds the recording
    *~0f3a…~***          any other secret: a keyed hash, so that different secrets stay different
    ******               where there is no room for either

No shape of a key has a `*` in it, so a mask is never taken for a key, nor with what stands beside it.
"""

from __future__ import annotations

import hashlib
import re

MIN_LABELLED = 8
"""Bytes; a shorter mask is only stars."""

HASH_DIGITS = 16
"""Hex digits of the hash: 64 bits."""

MASK = re.compile(rb"\*~(?:[0-9a-f]{4,16}|reda(?:c(?:t(?:ed?)?)?)?)~\*+")

_CONSTANT = re.compile(rb"\*~reda(?:c(?:t(?:ed?)?)?)?~\*+")
_HASHED = re.compile(rb"(\*~[0-9a-f]{16}~)\*+")


def constant(size: int) -> bytes:
    """The mask of a credential."""
    return _labelled(b"redacted", size)


def hashed(size: int, secret: bytes, salt: bytes) -> bytes:
    """The mask of any other secret. `salt` belongs to one cassette: a hash says nothing about another one's."""
    return _labelled(hashlib.blake2b(secret, key=salt, digest_size=HASH_DIGITS // 2).hexdigest().encode(), size)


def number(size: int) -> bytes:
    """The mask of a JSON number, or of another word that is no string: a number of that length."""
    return b"9" * size


def _labelled(label: bytes, size: int) -> bytes:
    return b"*" * size if size < MIN_LABELLED else (b"*~" + label[: size - 4] + b"~*").ljust(size, b"*")


def is_mask(text: bytes) -> bool:
    """Whether nothing is left to mask in this."""
    return not text.strip(b"*") or MASK.fullmatch(text) is not None


def may_contain_mask(text: bytes) -> bool:
    """Whether a mask may stand in a text. (Single letters are looked for 30 times faster than two.)"""
    return b"~" in text and b"*~" in text


def without_lengths(text: bytes) -> bytes:
    """Masks without their length, for comparing: another credential, or the same secret spelled with escapes, is as
    long as it likes."""
    if not may_contain_mask(text):
        return text
    return _HASHED.sub(rb"\1*", _CONSTANT.sub(b"*~redacted~*", text))
