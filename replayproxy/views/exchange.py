"""One exchange with everything that `show` prints of it, read once; and the same as data."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypedDict

from replayproxy.core import coding
from replayproxy.core.identity.rules import MatchRules
from replayproxy.model import Exchange, Response
from replayproxy.views import body
from replayproxy.views.port import Browser, ExchangeRow, StoredSizes


@dataclass(frozen=True, slots=True)
class ExchangeView:
    """Everything about one exchange. `playable` recordings replay to requests with the same key."""

    path: str
    row: ExchangeRow
    exchange: Exchange
    rules: MatchRules
    playable: int
    stored: StoredSizes

    @classmethod
    def of(cls, browser: Browser, number: int) -> ExchangeView:
        """Read it. Raises `Damaged` unless it is what was written."""
        row, stored = browser.row(number), browser.stored_sizes(number)
        return cls(
            path=str(browser.path),
            row=row,
            exchange=browser.exchange(number),
            rules=browser.rules,
            playable=browser.playable(row["key"]),
            stored=stored,
        )

    @property
    def response(self) -> Response:
        """What the client got."""
        return self.exchange.response


class ChunkRow(TypedDict):
    """One chunk: when it came, how long after the one before it, and the text it adds to the answer."""

    chunk: int
    at_s: float
    gap_s: float | None
    bytes: int
    http_chunk: int
    text: str | None
    data: str


# As data


def chunk_rows(it: ExchangeView) -> Iterator[ChunkRow]:
    """One row per chunk, as it was read. `http_chunk` numbers the server's own chunks, of which it is a part."""
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


CHUNK_FIELDS = tuple(ChunkRow.__annotations__)


def as_data(it: ExchangeView) -> dict[str, Any]:
    """Everything as one JSON object: bodies as text, or as base64 where they are not UTF-8; times in seconds."""
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
        "text": [choice.text for choice in body.texts_of(it.response)],
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
