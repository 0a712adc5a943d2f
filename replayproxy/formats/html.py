"""One HTML file that shows recordings to others, without a server, a network or a script.

    a line per exchange ── opened ──▶ the chat | chunk timeline | waterfall of a pair | heads

Recorded text is hostile: all of it goes through `views.charts.svg`, which escapes it and makes control characters
visible, and the page forbids itself scripts, forms and requests of any kind. The caller has checked before that the
chosen exchanges hold no secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files
from itertools import count
from typing import BinaryIO

from replayproxy.core.dialects.facts import facts_of
from replayproxy.core.visible import visible_lines
from replayproxy.formats.format import ExportContext, Format, Kept, Part, StoredExchange
from replayproxy.model import Exchange, Headers
from replayproxy.views.body import as_text, pretty, text_of_chunks
from replayproxy.views.charts import charts_css
from replayproxy.views.charts.exchange import ChunkTick, Lane, chunk_timeline, waterfall
from replayproxy.views.charts.svg import Fragment, joined, tag
from replayproxy.views.conversation import ChatMessage, MessagePart, answer_messages, request_messages, request_tools
from replayproxy.views.port import ExchangeRow
from replayproxy.views.units import duration, plural, size

MOST_TEXT = 100_000
"""Characters of one part of a message that are shown."""

MOST_MESSAGES = 200
"""Messages of one exchange that are shown: the last ones."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What the page may do: be looked at."""


def write(recordings: Iterable[StoredExchange], out: BinaryIO, context: ExportContext) -> None:
    """Write the page; each exchange is written as it comes."""
    out.write(_head(context).encode())
    numbers = count(1)
    written = 0
    for stored in recordings:
        written = next(numbers)
        out.write(_exchange(stored).text.encode("utf-8", "replace") + b"\n")
    note = f"{plural(written, 'exchange')}. Written by replayproxy {context.version}; times count from the request."
    out.write((tag("footer", note).text + "</main></body></html>\n").encode())


def _head(context: ExportContext) -> str:
    style = charts_css() + files("replayproxy.formats").joinpath("page.css").read_text("utf-8")
    names = ["recorded", "id", "request", "model", "answer", "TTFT", "total", "tokens"]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"{tag('title', context.name)}<style>{style}</style></head><body><main>"
        f"{tag('h1', context.name)}{tag('p', 'Open a line to see the chat and when its chunks came.')}"
        f"{tag('div', *(tag('span', name) for name in names), class_='columns', aria_hidden='true')}\n"
    )


# One exchange


def _exchange(stored: StoredExchange) -> Fragment:
    row, exchange = stored
    parts = [_line(row), _timeline(exchange)]
    if exchange.legs:
        parts.append(_section("Pair", waterfall("the legs of the pair", _lanes(exchange))))
    parts += [_section("Request", *_request(exchange)), _section("Answer", *_answer(exchange)), _heads(exchange)]
    return tag("details", *parts, id=f"{row['id']}-{row['number']}", class_="exchange")


def _line(row: ExchangeRow) -> Fragment:
    prompt, answer = row["prompt_tokens"], row["completion_tokens"]
    failed = row["status"] >= 400 or row["ending"] != "complete"
    ending = str(row["finish"] or "") if row["ending"] == "complete" else str(row["ending"])
    cells = [
        row["recorded_at"].replace("T", " ").rstrip("Z"),
        row["id"],
        f"{row['method']} {row['path']}",
        row["model"] or "",
        f"{row['status'] or '-'} {ending}",
        "" if row["ttft_s"] is None else duration(row["ttft_s"]),
        "" if row["total_s"] is None else duration(row["total_s"]),
        "" if prompt is None and answer is None else f"{_number(prompt)} + {_number(answer)}",
    ]
    spans = [tag("span", cell, class_="failed" if failed and place == 4 else None) for place, cell in enumerate(cells)]
    return tag("summary", *spans)


def _number(number: int | None) -> str:
    return "?" if number is None else str(number)


def _section(title: str, *content: Fragment) -> Fragment:
    return tag("section", tag("h2", title), *content)


def _timeline(exchange: Exchange) -> Fragment:
    response = exchange.response
    if not response.cuts:
        return _section("Chunks", tag("p", "The answer has no body."))
    ticks = [
        ChunkTick(at, length, text or "")
        for at, length, text in zip(response.timeline.chunks, response.cuts, text_of_chunks(response), strict=True)
    ]
    content = facts_of(exchange.request, response).first_content
    words = f"{plural(len(ticks), 'chunk')}, {size(len(response.body))}, {duration(response.timeline.end / 1e9)}"
    return _section("Chunks", tag("p", words), chunk_timeline(ticks, response.timeline.end, content=content))


def _lanes(exchange: Exchange) -> list[Lane]:
    """The client's view and each leg, on the clock of the client's request."""
    whole = exchange.response.timeline
    lanes = [Lane("client", 0, whole.first, whole.end)]
    for leg in exchange.legs:
        times = leg.response.timeline
        ends = (leg.started, leg.started + times.first, leg.started + times.end)
        lanes.append(Lane(leg.role, *ends, "b" if leg.role == "prefill" else "a"))
    return lanes


# The chat


def _request(exchange: Exchange) -> Iterator[Fragment]:
    messages = request_messages(exchange.request)
    if not messages:
        yield _body(exchange.request.body)
        return
    tools = request_tools(exchange.request)
    if tools:
        names = ", ".join(tool.name for tool in tools)
        yield tag("p", f"{plural(len(tools), 'tool')}: {names}", class_="quiet")
    if len(messages) > MOST_MESSAGES:
        yield tag("p", f"{len(messages) - MOST_MESSAGES} messages before these are left out.", class_="quiet")
    for message in messages[-MOST_MESSAGES:]:
        yield _message(message)


def _answer(exchange: Exchange) -> Iterator[Fragment]:
    messages = answer_messages(exchange.response)
    if not messages:
        yield _body(exchange.response.body)
    for message in messages:
        yield _message(message)


def _message(message: ChatMessage) -> Fragment:
    role = message.role if not message.choice else f"{message.role}, choice {message.choice}"
    finish = f" ({message.finish})" if message.finish else ""
    kind = message.role if message.role in ("user", "assistant", "system", "tool", "error") else "other"
    return tag("div", tag("h3", f"{role}{finish}"), *map(_part, message.parts), class_=f"message {kind}")


def _part(part: MessagePart) -> Fragment:
    if part.kind == "text":
        return _text(part.text)
    head = tag("p", " ".join(word for word in (part.kind, part.name, part.id) if word), class_="quiet")
    return tag("div", head, _text(part.text), class_="part")


def _body(body: bytes) -> Fragment:
    text = as_text(body)
    if not body:
        return tag("p", "no body", class_="quiet")
    if text is None:
        return tag("p", f"{size(len(body))} that are not text", class_="quiet")
    return _text(pretty(body).decode("utf-8", "replace"))


def _text(content: str) -> Fragment:
    """Text with its line ends; nothing in it is markup."""
    more = f"\n… {len(content) - MOST_TEXT} more characters" if len(content) > MOST_TEXT else ""
    return Fragment(f"<pre>{escape(visible_lines(content[:MOST_TEXT]))}{escape(more)}</pre>")


# Heads


def _heads(exchange: Exchange) -> Fragment:
    request, response = exchange.request, exchange.response
    sent = tag("pre", f"{request.method} {request.target}")
    return tag(
        "details",
        tag("summary", "Header fields"),
        joined(sent, _fields(request.headers), tag("pre", str(response.status)), _fields(response.headers)),
        class_="heads",
    )


def _fields(fields: Headers) -> Fragment:
    rows: Sequence[Fragment] = [tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in fields]
    return tag("table", *rows) if rows else tag("p", "no fields", class_="quiet")


HTML = Format(
    name="html",
    title="a page to show",
    keeps={
        Part.TIMES: Kept.PARTLY,
        Part.BYTES: Kept.PARTLY,
        Part.REQUEST: Kept.PARTLY,
        Part.HEADERS: Kept.YES,
        Part.ARRIVAL: Kept.YES,
    },
    loses="It is for people: bodies are shown as chats, times as a drawing.",
    suffix=".html",
    write=write,
    is_to_be_shown=True,
)
