"""How much work the parsing of a body is, from one look at its bytes.

A parser's time goes by values, not by bytes: 64 KiB of prose take 0.2 ms, 64 KiB of `1.5e300,` 24 ms, of `[[[...]]],`
26 ms, of empty multipart parts 44 ms. So what stands between values is counted. Decides nothing else.
"""

from __future__ import annotations

SHORT = 64 * 1024
"""Effort up to which a body is parsed within the event loop: 11 ms at most, and 1 ms for a chat of 30 kB."""

HEAVY = 1024 * 1024
"""Effort from which another process parses a body, for a parser written in C holds the interpreter's lock: 9 ms for
32 768 values in half as many lists."""

_MARKS = b"[{,:&%\n_-"
"""What stands between the values of JSON, of a form and of a multipart body; and in `hf_hf_hf_...`, which is searched
for keys in 20 ms."""

_PER_MARK = 32
"""Bytes of prose that are parsed in the time of a small value, or more of them."""

_FREE = SHORT // (1 + _PER_MARK)


def effort_of(body: bytes) -> int:
    """Return the length of the body and 32 for each mark in it. Takes 2 us per KiB."""
    return len(body) + _PER_MARK * (len(body) - len(body.translate(None, _MARKS)))


def is_long(body: bytes) -> bool:
    """Return whether parsing the body would hold up the event loop."""
    return len(body) > SHORT or (len(body) > _FREE and effort_of(body) > SHORT)


def is_heavy(body: bytes) -> bool:
    """Return whether parsing the body in a thread would hold up the event loop as well."""
    return len(body) > HEAVY or (len(body) > HEAVY // (1 + _PER_MARK) and effort_of(body) > HEAVY)
