"""Work on long bodies, as functions that another process can call: arguments and results are values.

One call of a JSON parser or of a regular expression over 20 MB holds the interpreter's lock for a second, so a thread
does not help. A proxy therefore calls these functions in another process (`worker_process`), and keeps the result with
the request: its key, its sketch, and values of cassette columns.
"""

from __future__ import annotations

from collections.abc import Sequence

from replayproxy.core import effort
from replayproxy.core.coding import body_of
from replayproxy.core.dialects.facts import request_facts
from replayproxy.core.identity import canonical
from replayproxy.core.identity.difference import Nearest, nearest
from replayproxy.core.identity.rules import Matcher
from replayproxy.core.identity.sketch import Sketch, sketch
from replayproxy.core.redaction import StreamRedactor
from replayproxy.model import Chunks, Head, Prepared, Request
from replayproxy.ports import Neighbour

HEAVY = 256 * 1024
"""Bytes above which a body of any kind is read in another process: 256 KiB of prose hold the lock for 2 ms."""

_PRESENTS_TICKET = b'"kv_transfer_params"'


def is_heavy(body: bytes) -> bool:
    """Return whether a body is read in another process. Searching for secrets takes time in proportion to its bytes."""
    return len(body) > HEAVY or effort.is_heavy(body)


def prepare(matcher: Matcher, request: Request) -> tuple[Prepared, Request | None]:
    """Return key, sketch and columns of a request, and the request without its secrets; None if it holds none."""
    masked = request if matcher.redactor is None else matcher.redactor.request(request)
    model, stream, transfer = request_facts(masked)
    key, drawn = canonical.digest(matcher.form(request)), sketch(matcher.compared(request))
    prepared = Prepared(key, drawn, model, stream, transfer)
    return prepared, None if masked is request else masked


def keep_prepared(matcher: Matcher, request: Request, prepared: Prepared, masked: Request | None) -> None:
    """Attach the result of `prepare` to a request."""
    object.__setattr__(request, "prepared", (matcher, prepared))
    if matcher.redactor is not None:
        object.__setattr__(request, "masked", (matcher.redactor, request if masked is None else masked))


def carry_prepared(request: Request, stored: Request) -> None:
    """Attach what was prepared of a request to the form in which it is stored: both have the same key."""
    if request.prepared is not None and stored.prepared is None:
        object.__setattr__(stored, "prepared", request.prepared)


def sketch_of(matcher: Matcher, request: Request) -> Sketch:
    """Return the sketch of the compared part of a request."""
    if request.prepared is not None and request.prepared[0] is matcher:
        return request.prepared[1].sketch
    return sketch(matcher.compared(request))


def transfer_presented(request: Request) -> str | None:
    """Return the id of the transfer that a decode request refers to, or None."""
    if request.prepared is not None:  # a search through 20 MB takes 10 ms
        return request.prepared[1].transfer
    body = body_of(request)
    return request_facts(request)[2] if _PRESENTS_TICKET in body else None


def closest(matcher: Matcher, request: Request, neighbours: Sequence[Neighbour]) -> tuple[Nearest | None, int]:
    """Return the nearest of these recordings and its index. Only the index crosses the process with its neighbour."""
    found = nearest(matcher, request, neighbours)
    if found is None:
        return None, 0
    number = next(number for number, neighbour in enumerate(neighbours) if neighbour is found.neighbour)
    return found, number


def finish_answer(stream_redactor: StreamRedactor, head: Head | None) -> tuple[Head | None, Chunks, bool]:
    """Return the rest of an answer without its secrets, and whether it is too long to be searched."""
    head, chunks = stream_redactor.finish(head)
    return head, chunks, stream_redactor.too_long
