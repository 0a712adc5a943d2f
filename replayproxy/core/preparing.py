"""What takes long with a long body, as functions that another process can call: values in, values out.

One call of a JSON parser or of a regular expression over 20 MB holds the interpreter's lock for a second, and a thread
beside the event loop helps nobody then. So who answers many clients lets another process do it (`worker_process`), and
keeps what came of it with the request: the key, the sketch, and what the columns of a cassette say.
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
"""Bytes of a body that another process looks at, whatever they are: 256 KiB of prose hold the lock for 2 ms."""

_PRESENTS_TICKET = b'"kv_transfer_params"'


def is_heavy(body: bytes) -> bool:
    """Return whether another process is to look at a body; it finds secrets too, whose time goes by bytes."""
    return len(body) > HEAVY or effort.is_heavy(body)


def prepare(matcher: Matcher, request: Request) -> tuple[Prepared, Request | None]:
    """What there is to know of a request, and the request without its secrets; None where it holds none."""
    masked = request if matcher.redactor is None else matcher.redactor.request(request)
    model, stream, transfer = request_facts(masked)
    key, drawn = canonical.digest(matcher.form(request)), sketch(matcher.compared(request))
    prepared = Prepared(key, drawn, model, stream, transfer)
    return prepared, None if masked is request else masked


def keep_prepared(matcher: Matcher, request: Request, prepared: Prepared, masked: Request | None) -> None:
    """Keep with a request what `prepare` gave for it."""
    object.__setattr__(request, "prepared", (matcher, prepared))
    if matcher.redactor is not None:
        object.__setattr__(request, "masked", (matcher.redactor, request if masked is None else masked))


def carry_prepared(request: Request, stored: Request) -> None:
    """What is stored of a request has its key: what is known of the one is true of the other."""
    if request.prepared is not None and stored.prepared is None:
        object.__setattr__(stored, "prepared", request.prepared)


def sketch_of(matcher: Matcher, request: Request) -> Sketch:
    """The sketch of what counts of a request."""
    if request.prepared is not None and request.prepared[0] is matcher:
        return request.prepared[1].sketch
    return sketch(matcher.compared(request))


def transfer_presented(request: Request) -> str | None:
    """The transfer whose ticket a request presents."""
    if request.prepared is not None:  # a search through 20 MB takes 10 ms
        return request.prepared[1].transfer
    body = body_of(request)
    return request_facts(request)[2] if _PRESENTS_TICKET in body else None


def closest(matcher: Matcher, request: Request, neighbours: Sequence[Neighbour]) -> tuple[Nearest | None, int]:
    """The nearest of these recordings, as `nearest`, and its number: who asked has them all."""
    found = nearest(matcher, request, neighbours)
    if found is None:
        return None, 0
    number = next(number for number, neighbour in enumerate(neighbours) if neighbour is found.neighbour)
    return found, number


def finish_answer(stream_redactor: StreamRedactor, head: Head | None) -> tuple[Head | None, Chunks, bool]:
    """What is left of an answer without its secrets, and whether it is too long to be judged."""
    head, chunks = stream_redactor.finish(head)
    return head, chunks, stream_redactor.too_long
