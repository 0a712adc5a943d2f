"""One exchange: request and answer side by side, as messages and as bytes; its chunks over time; its legs.

Bodies above `MOST_TEXT` and streams above `CHUNKS` are shown in part, with links to the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from replayproxy.admin.inspector.page import Page, Visitor
from replayproxy.core import coding
from replayproxy.core.dialects.facts import facts_of
from replayproxy.errors import CassetteError
from replayproxy.model import Leg, Request, Response
from replayproxy.views import body, starvation
from replayproxy.views.charts.exchange import ChunkTick, Lane, chunk_timeline, waterfall
from replayproxy.views.conversation import answer_messages, as_data, request_messages, request_tools
from replayproxy.views.exchange import ExchangeView, chunk_rows
from replayproxy.views.exchange import as_data as exchange_data
from replayproxy.views.exchange_id import resolve
from replayproxy.views.port import Browser
from replayproxy.views.timeline import Lateness

MOST_TEXT = 64 * 1024
"""Characters of a body on the page; the whole is a download."""

CHUNKS = 200
"""Rows of the table of chunks on one page."""


async def page(visitor: Visitor) -> Page:
    """The page of one exchange. Its `.json` twin is what `show --json` prints, and its messages."""
    name, id = visitor.place["cassette"], visitor.place["id"]
    first, number = visitor.query.whole("chunk", 1, 1), visitor.query.whole("number", 0)

    def read(browser: Browser) -> tuple[ExchangeView, dict[str, Any]]:
        it = ExchangeView.of(browser, numbered(browser, id, number))
        return it, _view(it, first)

    it, view = await visitor.library.ask(name, read)
    data = {
        "cassette": name,
        **exchange_data(it),
        "tools": [{"name": tool.name, "definition": tool.text} for tool in view["tools"]],
        "messages": as_data(view["prompt_messages"]),
        "answer": as_data(view["answer_messages"]),
    }
    return Page("exchange.html", data, view)


async def part(visitor: Visitor) -> tuple[str, bytes]:
    """The unchanged bytes of the request's or the answer's body, and a name for the file."""
    name, id, which = visitor.place["cassette"], visitor.place["id"], visitor.place["part"]
    number = visitor.query.whole("number", 0)

    def read(browser: Browser) -> bytes:
        exchange = browser.exchange(numbered(browser, id, number))
        return exchange.request.body if which == "request" else exchange.response.body

    content = await visitor.library.ask(name, read)
    return f"{id}-{which}.bin", content


def numbered(browser: Browser, id: str, number: int) -> int:
    """The exchange with this id; that of `number`, where it has the id: of a million, some share eight digits."""
    if number:
        with suppress(CassetteError):
            if browser.row(number)["id"].startswith(id[:8]):
                return number
    return resolve(browser, id)


def _view(it: ExchangeView, first: int) -> dict[str, Any]:
    request, response = it.exchange.request, it.response
    rows = list(islice(chunk_rows(it), first - 1, first - 1 + CHUNKS))
    return {
        "it": it,
        "first": first,
        "chunks": rows,
        "late": {place + 1 for place in Lateness.of(response.timeline.chunks).places},
        "last_page": -(-len(response.cuts) // CHUNKS),
        "per_page": CHUNKS,
        "timeline": _timeline(it),
        "legs": it.exchange.legs,
        "waterfall": _waterfall(it) if it.exchange.legs else None,
        "starved": starvation.sentence(delay) if (delay := starvation.delay(it.row)) else "",
        "tools": request_tools(request),
        "prompt_messages": request_messages(request),
        "answer_messages": answer_messages(response),
        "request_text": _text(coding.body_of(request)),
        "answer_text": _text(coding.decoded(response)),
        "curl": _curl(request),
    }


def _text(content: bytes) -> dict[str, Any]:
    """A body for people: JSON spread out, cut where it is long; None where it is not text."""
    shown = body.as_text(body.pretty(content))
    if shown is None:
        return {"text": None, "cut": False, "size": len(content)}
    return {"text": shown[:MOST_TEXT], "cut": len(shown) > MOST_TEXT, "size": len(content)}


def _timeline(it: ExchangeView) -> Any:
    response = it.response
    texts = body.text_of_chunks(response)
    ticks = [
        ChunkTick(chunk.at, len(chunk.data), text or "") for chunk, text in zip(response.chunks(), texts, strict=True)
    ]
    content = facts_of(it.exchange.request, response).first_content
    return chunk_timeline(ticks, response.timeline.end, content=content)


def _waterfall(it: ExchangeView) -> Any:
    lanes = [_lane("client's answer", 0, it.response, "a"), *(_leg_lane(leg) for leg in it.exchange.legs)]
    return waterfall("The client's answer and the legs of the pair", lanes)


def _leg_lane(leg: Leg) -> Lane:
    return _lane(f"{leg.role} {leg.upstream}", leg.started, leg.response, "b" if leg.role == "prefill" else "a")


def _lane(name: str, start: int, response: Response, kind: str) -> Lane:
    timeline = response.timeline
    return Lane(name, start, start + timeline.first, start + timeline.end, kind)


def _curl(request: Request) -> str:
    """The request as a command for a shell, against the usual port of a proxy."""
    words: Sequence[str] = [
        f"curl -X {request.method} {_quoted('http://127.0.0.1:8080' + request.target)}",
        *(f"-H {_quoted(f'{name}: {value}')}" for name, value in request.headers if name.lower() != "content-length"),
    ]
    text = body.as_text(coding.body_of(request))
    if text:
        words = [*words, f"--data-binary {_quoted(text)}"]
    command = " \\\n  ".join(words)
    return command if len(command) <= MOST_TEXT else ""


def _quoted(text: str) -> str:
    """A word of a shell, whatever it holds."""
    return "'" + text.replace("'", "'\\''") + "'"
