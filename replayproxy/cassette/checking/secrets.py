"""Look for secrets in everything a cassette holds, unpacked: what is found is named by its place, and never shown.

Reads all of it, changes nothing. Looks for known shapes and for what rules say; whose credentials echo, only the tape
could know, which has masked them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from replayproxy.cassette.queries import typed
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.recovering import cut_at_last, joined
from replayproxy.cassette.server_state import StoredState
from replayproxy.cassette.watched import Watch, unwatched, watched
from replayproxy.core import coding
from replayproxy.core.headers import hands_out_credentials
from replayproxy.core.redaction import Redactor, Trace, path_to
from replayproxy.core.redaction.credentials import NONE, names_credential
from replayproxy.core.server_state import ScrapedPage
from replayproxy.model import Headers, Request, Response

OPAQUE = "in a content coding that cannot be looked into"


@dataclass(frozen=True, slots=True)
class Leak:
    """A secret that is there. `where` is an exchange's id or a table, `field` a JSON path or the like, `kind` its
    shape."""

    where: str
    field: str
    kind: str


def scan(path: Path, rules: Sequence[str] = (), watch: Watch = unwatched) -> Iterator[Leak]:
    """Every leak, by these rules besides the cassette's own. Raises `CassetteError`, `SettingsError`."""
    with CassetteReader(path) as cassette:
        redactor = Redactor.extended(cassette.redactor, rules, b"")
        every = cassette.all("SELECT number, id FROM v_exchange WHERE state = 'done' ORDER BY number")
        for number, name in watched(every, "exchanges searched for secrets", len(every), watch):
            yield from _of_exchange(cassette, redactor, number, name)
        yield from _of_open(cassette, redactor)
        yield from _of_texts(cassette, redactor)


def _of_exchange(cassette: CassetteReader, redactor: Redactor, number: int, name: str) -> Iterator[Leak]:
    exchange = cassette.exchange(number)
    yield from _of_request(redactor, exchange.request, name, "request")
    yield from _of_response(redactor, exchange.response, name, "answer")
    yield from _of_text(redactor, exchange.scope, name, "scope")
    for leg in exchange.legs:
        yield from _of_request(redactor, leg.request, name, f"{leg.role} request")
        yield from _of_response(redactor, leg.response, name, f"{leg.role} answer")
        yield from _of_text(redactor, leg.upstream, name, f"{leg.role} upstream")


def _of_open(cassette: CassetteReader, redactor: Redactor) -> Iterator[Leak]:
    """Streams in flight."""
    rows = cassette.all(
        "SELECT exchange.id, method, path, request FROM exchange"
        " JOIN endpoint ON endpoint.id = endpoint JOIN payload ON payload.exchange = exchange.id WHERE state = 0"
    )
    for row in rows:
        number, method, path, frame = typed(row, int, str, str, bytes)
        request = cassette.codec_of(number).unpack_request(frame, method, path)
        yield from _of_request(redactor, request, f"stream in flight {number}", "request")
    streams = cassette.all(
        "SELECT DISTINCT segment.exchange FROM segment JOIN exchange ON exchange.id = segment.exchange WHERE state = 0"
    )
    for (number,) in streams:
        stored = cassette.all("SELECT heard FROM segment WHERE exchange = ? ORDER BY position", number)
        response = cut_at_last(*joined(cassette.codec_of(number), stored, number))
        yield from _of_response(redactor, response, f"stream in flight {number}", "answer")


def _of_texts(cassette: CassetteReader, redactor: Redactor) -> Iterator[Leak]:
    """Names, rules, and the samples that dictionaries are made of."""
    texts = {
        "endpoint": "SELECT path FROM endpoint",
        "model": "SELECT coalesce(model, '') FROM endpoint",
        "meta": "SELECT value FROM meta",
        "dropped": "SELECT reason FROM dropped",
    }
    for table, sql in texts.items():
        for (text,) in cassette.all(sql):
            yield from _of_text(redactor, str(text), table, "name")
    for state in StoredState(cassette).everything():
        texts_of_state = (state.text,) if isinstance(state, ScrapedPage) else (one.payload for one in state.messages)
        for content in texts_of_state:
            yield from _named(redactor.traces(content), "server_state", state.server)
    unpacker = cassette.fresh_codec()
    for row in cassette.all("SELECT id, kind, content FROM dictionary ORDER BY id"):
        number, kind, content = typed(row, int, str, bytes)
        unpacker.row = "dictionary", number
        words = unpacker.vocabulary(content).words if kind == "vocabulary" else [unpacker.plain_dictionary(content)]
        yield from _named(redactor.traces(b"\n".join(words)), f"dictionary {number}", kind)


def _of_request(redactor: Redactor, request: Request, where: str, what: str) -> Iterator[Leak]:
    if coding.is_opaque(request.headers, request.body):
        yield Leak(where, f"{what} body", OPAQUE)
    masked = redactor.request(request)
    if masked == request:
        return
    if masked.target != request.target:
        kinds = {trace.kind for trace in redactor.traces(request.target.encode("latin-1", "replace"))}
        yield from (Leak(where, f"{what} target", kind) for kind in sorted(kinds) or ["a secret parameter"])
    yield from _of_lines(redactor, request.headers, masked.headers, where, what)
    if masked.body != request.body:
        body = coding.decoded_body(request.headers, request.body)
        traces = redactor.traces(body) or [Trace(0, "a secret parameter")]
        yield from (Leak(where, f"{what} {_place(body, trace.at)}", trace.kind) for trace in traces)


def _of_response(redactor: Redactor, response: Response, where: str, what: str) -> Iterator[Leak]:
    if coding.is_opaque(response.headers, response.body):
        yield Leak(where, f"{what} body", OPAQUE)
    masked, traces = redactor.response_with_traces(response, NONE)
    yield from _of_lines(redactor, response.headers, masked.headers, where, what)
    body = coding.decoded(response)
    yield from (Leak(where, f"{what} {_place(body, trace.at)}", trace.kind) for trace in traces)


def _of_lines(redactor: Redactor, lines: Headers, masked: Headers, where: str, what: str) -> Iterator[Leak]:
    for name, value in lines:
        if (name, value) not in masked and name.lower() not in ("content-encoding", "content-length"):
            kinds = {trace.kind for trace in redactor.traces(value.encode("latin-1", "replace"))}
            yield from (Leak(where, f"{what} header {name}", kind) for kind in sorted(kinds) or [_kind_by_name(name)])


def _kind_by_name(name: str) -> str:
    return "a credential" if names_credential(name) or hands_out_credentials(name) else "--redact header"


def _of_text(redactor: Redactor, text: str, where: str, field: str) -> Iterator[Leak]:
    yield from _named(redactor.traces(text.encode("utf-8", "replace")) if text else (), where, field)


def _named(traces: Iterable[Trace], where: str, field: str) -> Iterator[Leak]:
    yield from (Leak(where, field, trace.kind) for trace in traces)


def _place(body: bytes, at: int) -> str:
    """Where in a body, for people: a JSON path, an event, or a byte."""
    if (path := path_to(body, at)) is not None:
        return path
    if body.startswith((b"data:", b"event:", b"id:", b":")):
        events = body.count(b"\n\n", 0, at) + 1
        return f"event {events}"
    return f"byte {at}"
