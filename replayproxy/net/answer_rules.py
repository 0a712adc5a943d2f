"""What a connection demands of a server's answer before anything of it is passed on, beyond what llhttp demands."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

from replayproxy.core import headers
from replayproxy.core.answers import fault_in_head, has_body
from replayproxy.core.dialects.stream_end import StreamEnd
from replayproxy.model import Headers

MAX_HEAD = 256 * 1024
"""Bytes of field lines that a server may send; and of anything else that is not a body: interim answers, chunk
extensions, trailers."""

_PROTOCOL = b"HTTP/"


def begins_as_http(beginning: bytes) -> bool:
    """Whether these first bytes of an answer may be those of a status line (RFC 9112 section 4).

    llhttp takes RTSP and ICE for HTTP, too.
    """
    return _PROTOCOL.startswith(beginning[: len(_PROTOCOL)])


def framing_of(method: str, status: int, version: str, fields: list[tuple[str, str]]) -> tuple[str, Headers]:
    """Return how the length of a body is given (RFC 9112 section 6.3), and the fields to be passed on.

    Gives `none`, `chunked`, `length` or `eof`. Raises ValueError, with a phrase, for a head that must not be passed on.
    """
    if version not in ("1.0", "1.1"):
        raise ValueError(f"it speaks HTTP/{version}")
    codings = ",".join(value for name, value in fields if name.lower() == "transfer-encoding").lower()
    # We ask for no coding (TE), so that there is only one which a server may use. Another one, or chunked twice, would
    # be taken off by one recipient and not by the next; in HTTP/1.0 there is none (RFC 9112 section 6.1).
    if codings and (codings.strip(" \t") != "chunked" or version == "1.0"):
        raise ValueError("a Transfer-Encoding other than chunked in HTTP/1.1")
    options = ",".join(value for name, value in fields if name.lower() == "connection").lower().split(",")
    if "content-length" in [option.strip() for option in options]:
        raise ValueError("a Connection field that names Content-Length")
    passed = headers.end_to_end(tuple(fields))
    if (fault := fault_in_head(status, passed)) is not None:
        raise ValueError(fault)
    if not has_body(method, status):
        # A length in 204 speaks of a body that cannot be there (RFC 9110 section 8.6): some client would wait for it.
        return "none", headers.without(passed, "content-length") if status == 204 else passed
    if codings:
        return "chunked", passed
    return "eof" if headers.get(passed, "content-length") is None else "length", passed


def is_whole(framing: str, stream_end: StreamEnd | None, *, cut: bool) -> bool:
    """Return whether an answer is whole that ended with its connection. `cut`: by a reset, or by us.

    Where closing is the end of the body, a server that dies looks like one that has finished (and its kernel may reset
    a connection that is done): only the event that ends a stream tells.
    """
    whole = framing == "eof" and not cut
    if stream_end is None:
        return whole
    return stream_end.ended or (whole and not stream_end.must_end)


def left_in_kernel(transport: asyncio.Transport) -> Iterator[bytes]:
    """What the kernel still holds of an answer, where writing has failed.

    A server that answers 413 and closes with unread bytes sends RST behind its answer. Our next write of the upload
    then fails, and the event loop ends the connection without having read the answer. Of TLS nothing can be read.
    """
    raw = transport.get_extra_info("socket")
    if raw is None or transport.get_extra_info("ssl_object") is not None:
        return
    try:
        with socket.socket(fileno=os.dup(raw.fileno())) as left:
            left.setblocking(False)
            while data := left.recv(65536):
                yield data
    except (OSError, ValueError):
        return  # there is nothing more
