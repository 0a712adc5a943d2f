"""Which answers may be sent to a client: one set of rules for what a live server sends and for what a cassette holds.

The rules are those of a strict HTTP/1.1 recipient (RFC 9110, RFC 9112). An answer that breaks one of them is not
repaired: a live one becomes 502, a stored one is damaged. Knows no socket and no file.
"""

from __future__ import annotations

import re

from replayproxy.core.headers import HOP_BY_HOP
from replayproxy.errors import Damaged
from replayproxy.model import Ending, Headers, Response

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2

_UNSAFE = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
"""In a field value (RFC 9110 section 5.5): CR and LF begin another field, NUL ends the value for some readers, other
control characters are refused by strict recipients, and above U+00FF there is no byte for a character."""

MAX_LENGTH = 2**63 - 1
"""The largest Content-Length that every recipient can hold in a signed integer of 64 bits."""


def has_body(method: str, status: int) -> bool:
    """Whether an answer to this method can have a body at all (RFC 9112 section 6.3)."""
    return method != "HEAD" and status not in (204, 304)


def fault_in_head(status: int, headers: Headers) -> str | None:
    """Why this head must not be sent, as a phrase; None where it may be.

    `headers` are the end-to-end fields: how the body is framed is decided by whoever sends it.
    """
    # 101 would turn the connection into a tunnel, and after 1xx the client waits for another head.
    if not 200 <= status <= 599:
        return f"its status is {status}, and an answer has one from 200 to 599"
    lengths = 0
    for name, value in headers:
        if not _TOKEN.fullmatch(name):
            return f"a field is called {_shown(name)}, which is not a name"
        if _UNSAFE.search(value):
            return f"the value of its field {name} holds a character that must not be there"
        lowered = name.lower()
        # A Transfer-Encoding or Connection of the cassette's would frame what follows in another way than we do.
        if lowered in HOP_BY_HOP:
            return f"it has a field {name}, which belongs to a connection and not to an answer"
        if lowered == "content-length":
            lengths += 1
            if length_in(value) is None:
                return f"its Content-Length is {_shown(value)}, which is not a length"
    return "it has more than one Content-Length" if lengths > 1 else None


def fault_in_answer(method: str, response: Response) -> str | None:
    """Why this answer to a request of this method must not be sent, as a phrase; None where it may be.

    An answer that ended before its head (status 0) is not one that could be sent, and has no fault as long as it is
    empty and does not claim to be whole.
    """
    whole = response.ending is Ending.COMPLETE
    size = len(response.body)
    if response.status == 0 and not whole:
        return "it has a body without a head" if size else None
    if (fault := fault_in_head(response.status, response.headers)) is not None:
        return fault
    if not has_body(method, response.status):
        if size:
            return f"it has a body, and {method if method == 'HEAD' else response.status} has none"
        if response.status != 204:  # the length that a body would have had
            return None
    length = content_length(response.headers)
    # Too short, and its end is read as the next answer; too long, and the client waits for ever.
    if length is not None and (size > length or (whole and size < length)):
        return f"its Content-Length is {length}, and its body has {size} bytes"
    return None


def check_answer(method: str, response: Response, name: str) -> None:
    """Raise `Damaged`, with the `name` of the recording, for an answer that must not be sent."""
    if (fault := fault_in_answer(method, response)) is not None:
        raise Damaged(
            f"{name} is not an answer that may be sent ({fault}): it was not recorded by this program; restore the"
            " file from a copy, or record again"
        )


def content_length(headers: Headers) -> int | None:
    """The value of the first Content-Length; None where there is none, or where it is not a length."""
    for name, value in headers:
        if name.lower() == "content-length":
            return length_in(value)
    return None


def length_in(value: str) -> int | None:
    """A Content-Length (RFC 9110 section 8.6): decimal digits. Python's own `int` also takes `+1`, `1_0` and `²`."""
    digits = value.strip(" \t")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 19:
        return None
    length = int(digits)
    return length if length <= MAX_LENGTH else None


def _shown(text: str) -> str:
    return ascii(text[:40])
