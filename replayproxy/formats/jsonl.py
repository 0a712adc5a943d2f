"""Our own JSON lines: everything that a cassette holds, to read, to change with `jq`, and to import again.

    {"replayproxy": "0.1.0", "format": "replayproxy-jsonl", "version": 1, "match": {…}, "redaction": {…}, "meta": {…}}
    {"id": "7f3a91c2", "recorded_at": "…", "recorded_at_ns": …, "request": {…}, "response": {…}, "legs": […]}

The first line has the rules of the cassette. Times are whole ns; `cuts` are the sizes of the chunks, `times_ns` when
each came. A body is text, or base64 under `body_base64` where it is not UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, BinaryIO

import orjson

from replayproxy.formats.bodies import (
    MOST_NS,
    checked_target,
    decoded_body,
    encoded_body,
    fields_of,
    is_method,
    iso_time,
    located,
    object_in,
    text_in,
    whole_in,
)
from replayproxy.formats.format import (
    Beat,
    CassetteOrigin,
    ExportContext,
    Format,
    ImportedExchange,
    Kept,
    Notes,
    Part,
    StoredExchange,
)
from replayproxy.formats.source import SourceFile
from replayproxy.model import Ending, Exchange, Leg, Request, Response, Timeline

NAME, VERSION = "replayproxy-jsonl", 1


# Writing


def write(recordings: Iterable[StoredExchange], out: BinaryIO, context: ExportContext) -> None:
    """Write the line with the rules, then one line per exchange."""
    out.write(orjson.dumps(heading(context.origin, context.version) | {"format": NAME, "version": VERSION}) + b"\n")
    out.writelines(orjson.dumps({"id": row["id"]} | as_object(exchange)) + b"\n" for row, exchange in recordings)


def heading(origin: CassetteOrigin, version: str) -> dict[str, Any]:
    """The rules and the provenance of a cassette as an object."""
    return {
        "replayproxy": version,
        "match": origin.match,
        "redaction": origin.redaction,
        "meta": dict(origin.meta),
        "dropped": [list(dropped) for dropped in origin.dropped],
    }


def as_object(exchange: Exchange) -> dict[str, Any]:
    """All of an exchange as values of JSON."""
    return {
        "recorded_at": iso_time(exchange.recorded_at),
        "recorded_at_ns": exchange.recorded_at,
        "scope": exchange.scope,
        "stalled": exchange.stalled,
        "starved_ns": exchange.starved,
        "request_cut": exchange.request_cut,
        "client_left": exchange.client_left,
        "request": request_object(exchange.request),
        "response": response_object(exchange.response),
        "legs": [leg_object(leg) for leg in exchange.legs],
    }


def request_object(request: Request) -> dict[str, Any]:
    """A request as values of JSON."""
    return {
        "method": request.method,
        "target": request.target,
        "headers": request.headers,
        **encoded_body("body", request.body),
    }


def response_object(response: Response) -> dict[str, Any]:
    """An answer as values of JSON."""
    return {
        "status": response.status,
        "headers": response.headers,
        **encoded_body("body", response.body),
        "ending": response.ending.name.lower(),
        "head_ns": response.timeline.head,
        "end_ns": response.timeline.end,
        "cuts": list(response.cuts),
        "times_ns": list(response.timeline.chunks),
        "continued": list(response.continued),
    }


def leg_object(leg: Leg) -> dict[str, Any]:
    """A leg of a prefill/decode pair as values of JSON."""
    return {
        "role": leg.role,
        "upstream": leg.upstream,
        "started_ns": leg.started,
        "request": request_object(leg.request),
        "response": response_object(leg.response),
    }


# Reading


def read(source: SourceFile, notes: Notes) -> Iterator[ImportedExchange]:
    """Read the exchanges. The line with the rules may be missing."""
    for number, value in source.json_lines():
        if number == 1 and "request" not in value:
            check_heading(value, source, NAME, VERSION)
            continue
        with located(source.error, f"line {number}"):
            yield ImportedExchange(exchange_of(value), Beat.CHUNKS)


def check_heading(value: Mapping[str, Any], source: SourceFile, name: str, version: int) -> None:
    """Raise `UnreadableSource` unless a file is in this format and version."""
    if value.get("format") != name:
        raise source.error(f"it does not begin with the line of a {name} file")
    if value.get("version") != version:
        raise source.error(f"it is in version {value.get('version')!r} of {name}, and this replayproxy reads {version}")


def origin(source: SourceFile) -> CassetteOrigin:
    """The rules of the cassette that was exported; none if the first line has none."""
    value = source.first_value
    return origin_of(value, source) if isinstance(value, dict) and "request" not in value else CassetteOrigin()


def origin_of(value: Mapping[str, Any], source: SourceFile) -> CassetteOrigin:
    """The rules and the provenance in a heading. Raises `UnreadableSource`."""
    with located(source.error, "its heading"):
        match, redaction = (value.get(name) for name in ("match", "redaction"))
        meta, dropped = value.get("meta") or {}, value.get("dropped") or []
        if not all(part is None or isinstance(part, dict) for part in (match, redaction)) or not isinstance(meta, dict):
            raise ValueError("the rules are not objects")
        return CassetteOrigin(match, redaction, meta, [_dropped(item) for item in dropped])


def _dropped(value: object) -> tuple[str, int, int]:
    match value:
        case [str(reason), int(exchanges), int(at)] if 0 < exchanges <= MOST_NS and 0 <= at <= MOST_NS:
            return reason, exchanges, at
    raise ValueError("'dropped' is not a list of reasons, counts and times")


def exchange_of(value: Mapping[str, Any]) -> Exchange:
    """What `as_object` made. Raises `ValueError`."""
    legs = value.get("legs") or []
    if not isinstance(legs, list) or not all(isinstance(leg, dict) for leg in legs):
        raise ValueError("'legs' is not a list of objects")
    return Exchange(
        request=request_of(object_in(value, "request")),
        response=response_of(object_in(value, "response")),
        recorded_at=whole_in(value, "recorded_at_ns"),
        legs=tuple(_leg_of(leg) for leg in legs),
        scope=text_in(value, "scope", ""),
        stalled=whole_in(value, "stalled", 0),
        starved=whole_in(value, "starved_ns", 0),
        request_cut=value.get("request_cut") is True,
        client_left=value.get("client_left") is True,
    )


def request_of(value: Mapping[str, Any]) -> Request:
    """What `request_object` made. Raises `ValueError`."""
    method = text_in(value, "method")
    if not is_method(method):
        raise ValueError(f"{method[:80]!r} is not a method")
    target = checked_target(text_in(value, "target"))
    return Request(method, target, fields_of(value.get("headers")), decoded_body(value, "body"))


def response_of(value: Mapping[str, Any]) -> Response:
    """What `response_object` made. Raises `ValueError`."""
    status = whole_in(value, "status")
    if status and not 100 <= status <= 599:
        raise ValueError("'status' is not a status from 100 to 599, or 0 for none")
    body = decoded_body(value, "body")
    head, end = whole_in(value, "head_ns", 0), whole_in(value, "end_ns", 0)
    cuts = _numbers(value, "cuts", [len(body)] if body else [])
    times = _numbers(value, "times_ns", [end] * len(cuts))
    if any(after < before for before, after in pairwise((head, *times, end))) and times:
        raise ValueError("the times go back")
    continued = _numbers(value, "continued", [])
    if any(after <= before for before, after in pairwise(continued)) or (continued and continued[-1] >= len(cuts)):
        raise ValueError("'continued' does not name chunks in their order")
    ending = text_in(value, "ending", "complete").upper()
    if ending not in Ending.__members__:
        raise ValueError(f"an answer does not end in {ending.lower()[:80]!r}")
    return Response(
        status,
        fields_of(value.get("headers")),
        body,
        tuple(cuts),
        Timeline(head, tuple(times), end),
        Ending[ending],
        tuple(continued),
    )


def _leg_of(value: Mapping[str, Any]) -> Leg:
    role = text_in(value, "role")
    if role not in ("prefill", "decode"):
        raise ValueError(f"{role[:80]!r} is not the role of a leg")
    request, response = request_of(object_in(value, "request")), response_of(object_in(value, "response"))
    return Leg(role, text_in(value, "upstream", ""), request, response, whole_in(value, "started_ns", 0))


def _numbers(value: Mapping[str, Any], name: str, default: list[int]) -> list[int]:
    found = value.get(name, default)
    if not isinstance(found, list) or not all(type(item) is int and 0 <= item <= MOST_NS for item in found):
        raise ValueError(f"{name!r} is not a list of whole numbers")
    return found


def recognises(source: SourceFile) -> bool:
    """Whether the first line is ours."""
    value = source.first_value
    return isinstance(value, dict) and (value.get("format") == NAME or {"recorded_at_ns", "response"} <= value.keys())


JSONL = Format(
    name="jsonl",
    title="JSON lines of replayproxy",
    keeps=dict.fromkeys(Part, Kept.YES),
    loses="Nothing.",
    suffix=".jsonl",
    write=write,
    read=read,
    recognises=recognises,
    origin=origin,
    is_own=True,
)
