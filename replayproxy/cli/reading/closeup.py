"""`show`: one exchange with everything that is known of it, read once; and as data. How it is drawn is in `page`."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from replayproxy.cassette.cassette import Cassette
from replayproxy.core import coding
from replayproxy.core.matching import Rules
from replayproxy.model import Exchange, Response
from replayproxy.views import body


@dataclass(frozen=True, slots=True)
class Closeup:
    """Everything about one exchange."""

    path: str
    row: Mapping[str, Any]
    exchange: Exchange
    rules: Rules
    playable: int
    """Recordings that replay to requests with the same key."""
    stored: tuple[int, int, int]
    """Bytes on disk: request, answer, times."""

    @classmethod
    def of(cls, cassette: Cassette, number: int) -> Closeup:
        """Read it. Raises `Damaged` unless it is what was written."""
        row = cassette.row(number)
        asked, answer, times = cassette.one(
            "SELECT length(request), coalesce(length(answer), 0), length(times) FROM payload"
            " LEFT JOIN answer USING (exchange) WHERE exchange = ?",
            number,
        )
        return cls(
            path=str(cassette.path),
            row=row,
            exchange=cassette.exchange(number),
            rules=cassette.rules,
            playable=cassette.count(row["key"]),
            stored=(asked, answer, times),
        )

    @property
    def response(self) -> Response:
        """What the client got."""
        return self.exchange.response


# As data


def chunk_rows(it: Closeup) -> Iterator[dict[str, Any]]:
    """One row a chunk, as it was read: when it came, how long after the one before, how long it is, what it says, and
    which of the server's HTTP chunks it belongs to."""
    before: int | None = None
    unended, http_chunk = frozenset(it.response.continued), 1
    chunks = zip(
        it.response.chunks(), coding.decoded_chunks(it.response), body.text_of_chunks(it.response), strict=True
    )
    for number, (chunk, data, text) in enumerate(chunks, 1):
        yield {
            "chunk": number,
            "at_s": chunk.at / 1e9,
            "gap_s": None if before is None else (chunk.at - before) / 1e9,
            "bytes": len(chunk.data),
            "http_chunk": http_chunk,
            "text": text,
            "data": data.decode("utf-8", "replace"),
        }
        before = chunk.at
        http_chunk += number - 1 not in unended


CHUNK_FIELDS = ("chunk", "at_s", "gap_s", "bytes", "http_chunk", "text", "data")


def as_data(it: Closeup) -> dict[str, Any]:
    """Everything: bodies as text, or base64 where they are none; times in seconds."""
    return {
        **it.row,
        "match": {"profile": it.rules.profile, "ignore": list(it.rules.paths())},
        "playable": it.playable,
        "request": {
            "method": it.exchange.request.method,
            "target": it.exchange.request.target,
            "headers": it.exchange.request.headers,
            **_body_data(it.exchange.request.body),
        },
        "response": _response_data(it.response),
        "text": [said.text for said in body.texts_of(it.response)],
        "legs": [
            {
                "role": leg.role,
                "upstream": leg.upstream,
                "started_s": leg.started / 1e9,
                "request": {
                    "method": leg.request.method,
                    "target": leg.request.target,
                    "headers": leg.request.headers,
                    **_body_data(leg.request.body),
                },
                "response": _response_data(leg.response),
            }
            for leg in it.exchange.legs
        ],
    }


def _response_data(response: Response) -> dict[str, Any]:
    return {
        "status": response.status,
        "headers": response.headers,
        **_body_data(response.body),
        "ending": response.ending.name.lower(),
        "head_s": response.timeline.head / 1e9,
        "end_s": response.timeline.end / 1e9,
        "http_chunks": len(response.http_chunks),
        "chunks": [
            {"at_s": at / 1e9, "bytes": length}
            for at, length in zip(response.timeline.chunks, response.cuts, strict=True)
        ],
    }


def _body_data(content: bytes) -> dict[str, str]:
    try:
        return {"body": content.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(content).decode()}
