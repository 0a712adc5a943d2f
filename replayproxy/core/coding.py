"""Content codings undone (RFC 9110 §8.4): gzip, deflate, br and zstd, one over the other, whole or as bytes arrive.

For comparing and splitting requests, for views and statistics, and to look for secrets. What a client or a server gets
never comes from here: bodies are passed on as they were received. Coded bodies come from strangers: output stops at a
limit, and work is linear in input and output.

    Decoder:   bytes ──▶ zstd ──▶ gzip ──▶ text         Content-Encoding: gzip, zstd; each layer is a `CodingLayer`
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from replayproxy.core import headers
from replayproxy.core.coding_layers import CODINGS, LIMIT, READ, CodingLayer, DecodedState
from replayproxy.model import Headers, Request, Response

MOST_LAYERS = 4
"""Codings over one another; no server applies more than two, and each one costs up to LIMIT bytes of work."""


class Decoder:
    """Undoes the codings of one body as it arrives. A body without a coding comes out as it is.

    `feed` and `finish` never raise: where a body cannot be read, `state` says so and nothing more comes out. `rest` is
    what stands behind the end of the body.
    """

    def __init__(self, names: Iterable[str], limit: int | None = None) -> None:
        """`limit` in bytes of output of each layer; LIMIT if none is given."""
        limit = LIMIT if limit is None else limit
        self.names = tuple(names)
        self._is_unknown = len(self.names) > MOST_LAYERS or not all(name in CODINGS for name in self.names)
        self._layers = [] if self._is_unknown else [CodingLayer(name, limit) for name in reversed(self.names)]
        self._finished = False

    @classmethod
    def of(cls, fields: Headers, limit: int | None = None) -> Decoder:
        """For a body with these fields."""
        return cls(codings(fields), limit)

    def __repr__(self) -> str:
        return f"<Decoder {', '.join(self.names) or 'identity'}: {self.state.value}>"

    def feed(self, data: bytes) -> bytes:
        """What can be read by now of what was not read before."""
        if self._is_unknown:
            return b""
        for layer in self._layers:
            if not data:
                break
            data = layer.feed(data)
        return data

    def finish(self) -> None:
        """No byte follows."""
        for layer in self._layers:
            layer.finish()
        self._finished = True

    @property
    def state(self) -> DecodedState:
        """How far the body could be read; of many layers the worst."""
        if self._is_unknown:
            return DecodedState.UNKNOWN
        states = {layer.state for layer in self._layers}
        for state in (DecodedState.TOO_LONG, DecodedState.BROKEN, DecodedState.REST, DecodedState.OPEN):
            if state in states:
                return state
        return DecodedState.WHOLE if self._layers or self._finished else DecodedState.OPEN

    @property
    def rest(self) -> bytes:
        """The bytes that stand behind the end of a layer, outermost first."""
        return b"".join(piece for layer in self._layers for piece in layer.rest)


def codings(fields: Headers) -> tuple[str, ...]:
    """The names of a body's codings in the order in which they were applied, in lower case, without `identity`."""
    values = (value for name, value in fields if name.lower() == "content-encoding")
    names = (name.strip().lower() for value in values for name in value.split(","))
    return tuple(name for name in names if name not in ("", "identity"))


def is_coded(fields: Headers) -> bool:
    """Whether a body with these fields is other than it reads."""
    return headers.get(fields, "content-encoding") is not None and bool(codings(fields))


def is_readable(fields: Headers) -> bool:
    """Whether we know how to undo the codings, if there are any."""
    return Decoder(codings(fields)).state is not DecodedState.UNKNOWN


def undone(fields: Headers, body: bytes, limit: int | None = None) -> tuple[bytes, DecodedState]:
    """A body in one piece, as far as it can be read, and how far that is. Without a coding it is the body itself."""
    if not is_coded(fields):
        return body, DecodedState.WHOLE
    decoder = Decoder.of(fields, limit)
    read = decoder.feed(body)
    decoder.finish()
    return read, decoder.state


def readable_body(request: Request) -> bytes | None:
    """The body of a request with its codings undone; None where it cannot be read to its end.

    Done once for a request: the matcher, the redactor, the legs of a pair and the views take it from here.
    """
    body = request.body
    if not body or not is_coded(request.headers):
        return body
    if request.undone is None or request.undone[0] is not body:
        read, state = undone(request.headers, body)
        object.__setattr__(request, "undone", (body, read if state is DecodedState.WHOLE else None))
    assert request.undone is not None
    return request.undone[1]


def body_of(request: Request) -> bytes:
    """The body of a request as it reads, or as it was received where its codings cannot be undone."""
    read = readable_body(request)
    return request.body if read is None else read


def is_opaque(fields: Headers, body: bytes) -> bool:
    """Return whether a body has bytes that cannot be decoded: its coding is unknown, breaks, or ends before they do.

    Text under the wrong name of a coding can be read.
    """
    if not body or not is_coded(fields):
        return False
    _, state = undone(fields, body)
    return state not in READ and not is_text(body)


def decoded_body(fields: Headers, body: bytes) -> bytes:
    """A body in one piece as it reads; the body itself where its coding is not known or does not hold.

    For views. Of a body that breaks in the middle it is the part before.
    """
    read, state = undone(fields, body)
    if state is DecodedState.UNKNOWN or (state is DecodedState.BROKEN and not read):
        return body
    return body if (state is DecodedState.BROKEN or not read) and is_text(body) else read


def is_text(body: bytes) -> bool:
    """Whether a body is UTF-8 without control characters of binary files: then its coding is only a wrong name."""
    if b"\0" in body:
        return False
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def decoded_chunks(response: Response) -> Iterator[bytes]:
    """Each chunk as it reads when it arrives; as received where the coding is not known or does not hold."""
    decoder = Decoder.of(response.headers)
    if not decoder.names or decoder.state is DecodedState.UNKNOWN:
        yield from (chunk.data for chunk in response.chunks())
        return
    begun = False
    for chunk in response.chunks():
        data = decoder.feed(chunk.data)
        begun = begun or bool(data)
        # Bytes that never were in the coding may be text under a wrong name.
        yield chunk.data if decoder.state is DecodedState.BROKEN and not begun else data


def decoded(response: Response) -> bytes:
    """The whole body so; the body itself where it has no coding."""
    if not is_coded(response.headers):
        return response.body
    return decoded_body(response.headers, response.body)
