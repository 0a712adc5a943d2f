"""Flows of mitmproxy, as `mitmdump -w FILE` writes them; read by mitmproxy's own library, which must be installed.

A flow has the whole body and three times: when the request was complete, when the answer began, when it ended.
mitmproxy pins its dependencies narrowly: where it cannot be installed beside replayproxy, `mitmdump -nr FILE --set
hardump=FILE.har` makes an archive of the flows, and `import` reads that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from replayproxy.core.headers import without
from replayproxy.formats.bodies import checked_target, fields_of, is_method, located, whole_answer
from replayproxy.formats.format import Beat, Format, ImportedExchange, Kept, MissingExtra, Notes, Part
from replayproxy.formats.source import SourceFile
from replayproxy.model import End, Ending, Exchange, Head, Request, Response

NO_ANSWER, OTHER_FLOW, NO_BODY, WEBSOCKET = (
    "a flow without an answer",
    "a flow that is not HTTP",
    "a flow whose streamed body was not stored (store_streamed_bodies)",
    "a WebSocket",
)


def read(source: SourceFile, notes: Notes) -> Iterator[ImportedExchange]:
    """Read the flows that have an answer. Raises `MissingExtra` without mitmproxy."""
    try:
        from mitmproxy.exceptions import FlowReadException
        from mitmproxy.http import HTTPFlow
        from mitmproxy.io import FlowReader
    except ImportError as error:
        raise MissingExtra(
            f"the format mitmproxy needs mitmproxy's own library: pip install mitmproxy, or where its pins forbid that,"
            f" make an archive by `mitmdump -nr {source.path} --set hardump=flows.har` and import that"
        ) from error
    with source.opened() as stream:
        number = 0
        try:
            for flow in FlowReader(stream).stream():
                number += 1
                with located(source.error, f"flow {number}"):
                    if (why := _why_not(flow, HTTPFlow)) is not None:
                        notes.skipped[why] += 1
                        continue
                    yield _exchange(flow)
        except (FlowReadException, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise source.error(f"after flow {number} it cannot be read ({str(error)[:200]})") from error


def _why_not(flow: Any, http: type) -> str | None:
    if not isinstance(flow, http):
        return OTHER_FLOW
    response: Any = getattr(flow, "response", None)
    if response is None:
        return NO_ANSWER
    if getattr(flow, "websocket", None) is not None or response.status_code == 101:
        return WEBSOCKET
    return NO_BODY if response.raw_content is None else None


def _exchange(flow: Any) -> ImportedExchange:
    request, response = flow.request, flow.response
    method = str(request.method)
    if not is_method(method):
        raise ValueError(f"{method[:80]!r} is not a method")
    start = request.timestamp_end or request.timestamp_start or flow.timestamp_created
    began, ended = response.timestamp_start or start, response.timestamp_end or response.timestamp_start or start
    first, end = (max(0, round((moment - start) * 1e9)) for moment in (began, ended))
    sent = Request(
        method,
        checked_target(str(request.path)),
        fields_of(list(map(list, request.headers.fields))),
        request.raw_content or b"",
    )
    fields = without(fields_of(list(map(list, response.headers.fields))), "transfer-encoding", "connection")
    answer = whole_answer(int(response.status_code), fields, response.raw_content or b"", first, max(first, end))
    if flow.error is not None:
        answer = Response.of(
            Head(answer.timeline.head, answer.status, answer.headers),
            answer.chunks(),
            End(answer.timeline.end, Ending.UPSTREAM_CUT),
        )
    return ImportedExchange(Exchange(sent, answer, max(0, round(start * 1e6) * 1000)), Beat.ENDS if end else Beat.NONE)


def recognises(source: SourceFile) -> bool:
    """Whether the file begins with a tnetstring of a flow: its length, and a dictionary with these words."""
    length, colon, rest = source.beginning.partition(b":")
    return bool(colon) and length.isdigit() and len(length) < 13 and b"version;" in rest[:65536] and b"request;" in rest


MITMPROXY = Format(
    name="mitmproxy",
    title="flows of mitmproxy",
    keeps={
        Part.TIMES: Kept.PARTLY,
        Part.BYTES: Kept.YES,
        Part.REQUEST: Kept.YES,
        Part.HEADERS: Kept.YES,
        Part.ARRIVAL: Kept.YES,
    },
    loses="Chunks: only the beginning and the end of an answer have a time. WebSockets, and streamed bodies"
    " that were not stored. Needs mitmproxy itself.",
    suffix=".flows",
    read=read,
    recognises=recognises,
)
