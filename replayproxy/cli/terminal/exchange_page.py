"""The page of `show` for people: the request, the answer, and when each chunk came."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from replayproxy.cli.terminal.list_table import ending_style
from replayproxy.cli.terminal.screen import INDENT, Line, Screen, Span
from replayproxy.cli.terminal.table import Column, layout
from replayproxy.core.coding import body_of, decoded
from replayproxy.core.dialects.facts import parsed
from replayproxy.core.dialects.stream_end import end_of
from replayproxy.core.headers import is_event_stream
from replayproxy.core.stats import percentile
from replayproxy.core.visible import visible_lines
from replayproxy.model import Leg
from replayproxy.views import body, starvation, timeline
from replayproxy.views.conversation import TOOL_CALL, ChatMessage, answer_messages
from replayproxy.views.exchange import ExchangeView
from replayproxy.views.listing import ending
from replayproxy.views.units import count, duration, plural, size

LINES = 12
"""Lines of the answer's text, unless --no-trunc."""

TICK = 10_000
"""ns: the grain of stored times; what is shorter has no line."""

PLAIN_WIDTH = 100
"""Of the timeline where there is no terminal."""

PARAMETERS = (
    *("stream", "temperature", "top_p", "top_k", "min_p", "seed", "n", "max_tokens", "max_completion_tokens"),
    *("max_output_tokens", "min_tokens", "stop", "presence_penalty", "frequency_penalty", "repetition_penalty"),
    *("logprobs", "top_logprobs", "echo", "tool_choice", "response_format", "reasoning_effort", "ignore_eos"),
)
"""Fields of a request that shape the answer, in the order they are shown."""


def page(it: ExchangeView, screen: Screen, *, trunc: bool) -> None:
    """The whole page."""
    screen.entry(it.row["id"], *_title(it), style="bold")
    for head, line in (
        ("key", _key(it)),
        ("request", _request(it)),
        ("asked", _last_message(it, screen.width)),
        ("response", _response(it)),
    ):
        if line:
            screen.entry(head, *line)
    screen.line()
    screen.lines(_timing(it))
    if pace := _pace(it):
        screen.entry("pace", pace)
    if delay := starvation.delay(it.row):
        screen.entry("starved", Span(starvation.sentence(delay), "yellow"))
    screen.lines(_drawing(it, screen.width if trunc and screen.width else PLAIN_WIDTH))
    if it.exchange.legs:
        screen.line()
        screen.lines(_legs(it.exchange.legs, screen.width if trunc else None))
    screen.line()
    screen.lines(_text(it, screen.width, LINES if trunc else None))


def _title(it: ExchangeView) -> list[Span | str]:
    row = it.row
    parts: list[Span | str] = [f"{row['method']} {it.exchange.request.target}"]
    if row["model"]:
        parts += ["   ", row["model"]]
    if row["status"]:
        parts += ["   ", Span(str(row["status"]), "bold red" if row["status"] >= 400 else "bold green")]
    if row["ending"] != "complete":
        parts += ["   ", Span(ending(row), ending_style(row))]
    if it.exchange.request_cut:
        parts += ["   ", Span("request cut: it was not read to its end, and answers nothing in replay", "yellow")]
    parts += ["   ", row["recorded_at"].replace("T", " ")]
    if row["scope"]:
        parts += ["   ", f"scope {row['scope']}"]
    if it.exchange.legs:
        parts += ["   ", Span("prefill/decode pair", "cyan")]
    return parts


def _key(it: ExchangeView) -> list[Span | str]:
    if it.row["occurrence"] is None:
        place = "does not replay, unless with --allow-incomplete"
    elif it.playable == 1:
        place = "the only answer to this request"
    else:
        place = f"answer {it.row['occurrence'] + 1} of {it.playable} to equal requests"
    if it.row["ending"] == "client_left" and it.row["occurrence"] is not None:
        place += ", as far as it goes, then held open until the client leaves"
    ignored = it.rules.paths()
    rules = f"match {it.rules.profile}" + (f", {plural(len(ignored), 'path')} ignored" if ignored else "")
    return [it.row["key"], "   ", rules, "   ", Span(place, "" if it.row["occurrence"] is not None else "bold red")]


def _request(it: ExchangeView) -> list[Span | str]:
    fields = parsed(body_of(it.exchange.request))
    facts: list[str] = []
    tokens, cached = it.row["prompt_tokens"], it.row["cached_tokens"]
    if tokens is not None:
        facts.append(f"{plural(tokens, 'token')} in" + (f" ({count(cached)} cached)" if cached else ""))
    facts += [plural(len(value), name) for name, value in _parts(fields)]
    facts += [f"{name}={_short(fields[name])}" for name in PARAMETERS if fields.get(name) is not None]
    if not fields and it.exchange.request.body:
        facts.append("a body that is no JSON object")
    return [", ".join(facts) or "no body", *_sizes(len(it.exchange.request.body), it.stored.request)]


def _parts(fields: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    for field, name in (
        ("messages", "message"),
        ("tools", "tool"),
        ("input", "input item"),
        ("prompt", "prompt token"),
    ):
        value = fields.get(field)
        if isinstance(value, list):
            yield ("prompt" if field == "prompt" and not all(type(part) is int for part in value) else name), value


def _short(value: Any, most: int = 40) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        value = value["type"] if isinstance(value.get("type"), str) else "{…}"
    elif isinstance(value, list) and any(isinstance(part, dict | list) for part in value):
        value = "[…]"
    text = str(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def _sizes(plain: int, stored: int) -> list[Span | str]:
    return ["   ", Span(f"{size(plain)} -> {size(stored)} on disk", "dim")]


def _last_message(it: ExchangeView, width: int | None) -> list[Span | str]:
    """The last message of the request, on one line."""
    fields = parsed(body_of(it.exchange.request))
    for name in ("messages", "input", "prompt"):
        value = fields.get(name)
        if isinstance(value, list) and value and isinstance(value[-1], dict):
            role, value = value[-1].get("role"), value[-1].get("content")
            if isinstance(value, list):
                value = " ".join(
                    str(part.get("text", f"[{part.get('type')}]")) for part in value if isinstance(part, dict)
                )
        else:
            role = None
            value = value[-1] if isinstance(value, list) and value and isinstance(value[-1], str) else value
        if isinstance(value, str):
            who = f"{role}: " if isinstance(role, str) else ""
            return [who, f'"{_short(value, max(20, (width or 120) - 14 - len(who)))}"']
    return []


def _response(it: ExchangeView) -> list[Span | str]:
    row, response = it.row, it.response
    facts = []
    if row["completion_tokens"] is not None:
        facts.append(f"{plural(row['completion_tokens'], 'token')} out")
    facts.append(plural(len(response.cuts), "chunk"))
    if row["finish"]:
        facts.append(f"finish={row['finish']}")
    if is_event_stream(response.headers):
        facts.append(f"usage: {'no' if row['completion_tokens'] is None else 'yes'}")
        end = end_of(row["path"], response)
        if end.must_end:
            facts.append(f"{end.label}: {'yes' if end.ended else 'missing'}")
    if coding := body.content_coding(response.headers):
        facts.append(f"content-encoding {coding}")
    if row["client_left"] and row["ending"] == "complete":
        facts.append("the client had left before the end")
    if row["stalled"]:
        facts.append(f"stalled {row['stalled']}x by a slow client: times are not the server's own")
    sizes = _sizes(len(response.body), it.stored.answer + it.stored.times)
    return [", ".join(facts), *sizes]


# When


def _timing(it: ExchangeView) -> list[Line]:
    line = it.response.timeline
    facts: list[tuple[int, str]] = [(0, "request complete")]
    if it.row["status"]:
        facts.append((line.head, "head"))
    if line.chunks:
        facts.append((line.chunks[0], "first chunk" if len(line.chunks) > 1 else "body"))
    if it.row["ttft_s"] is not None:
        facts.append((round(it.row["ttft_s"] * 1e9), "first content: TTFT"))
    if len(line.chunks) > 1:
        facts.append((line.chunks[-1], "last chunk"))
    facts.append((line.end, "end" if it.row["ending"] == "complete" else ending(it.row)))
    return [
        [
            Span(("" if place else "timing").ljust(INDENT), "dim"),
            Span(duration(at / 1e9).rjust(8), "bold"),
            Span("   " + what),
        ]
        for place, (at, what) in enumerate(facts)
    ]


def _pace(it: ExchangeView) -> str:
    """How evenly chunks came; nothing where there is but one."""
    gaps = list(it.response.timeline.gaps())
    if not gaps:
        return ""
    ordered = sorted(gaps)
    p50, p95, p99 = (duration(percentile(ordered, percent) / 1e9) for percent in (50, 95, 99))
    place = max(range(len(gaps)), key=gaps.__getitem__) + 2
    tpot = f"TPOT {duration(it.row['tpot_s'])}   " if it.row["tpot_s"] is not None else ""
    return f"{tpot}chunk gap p50 {p50}  p95 {p95}  p99 {p99}  max {duration(ordered[-1] / 1e9)} before #{place}"


def _drawing(it: ExchangeView, width: int) -> list[Line]:
    """The timeline, a lane for the client and one for each leg, and an axis below."""
    room = width - INDENT - 2
    if it.response.timeline.end < TICK and not it.exchange.legs:
        return []
    line = it.response.timeline
    end = max(line.end, *(leg.started + leg.response.timeline.end for leg in it.exchange.legs), 1)
    content = None if it.row["ttft_s"] is None else round(it.row["ttft_s"] * 1e9)
    drawn = timeline.draw(line.chunks, end, room, content=content, word="TTFT" if content is not None else "waiting")
    lines = [_lane("timeline", drawn)]
    for leg in it.exchange.legs:
        own = leg.response.timeline
        drawn = timeline.draw([leg.started + at for at in own.chunks], end, room, start=leg.started)
        stop = (leg.started + own.end) * room // end
        lines.append(_lane(leg.role, drawn[: stop + 1].ljust(room)))
    lines.append([Span(" " * (INDENT + 1)), Span(timeline.axis(end, room), "dim")])
    late = timeline.Lateness.of(line.chunks)
    if late.places:
        lines.append(
            [
                Span(" " * (INDENT + 1)),
                Span("!", "bold red"),
                Span(f" {plural(len(late.places), 'chunk')} came after more than 3 x the {late.usual} gap", "dim"),
            ]
        )
    return lines


def _lane(head: str, drawn: str) -> Line:
    runs = groupby(drawn, key=lambda cell: "bold red" if cell == "!" else "green" if cell in timeline.BLOCKS else "dim")
    return [
        Span(head.ljust(INDENT), "dim"),
        Span("|", "dim"),
        *(Span("".join(cells), style) for style, cells in runs),
        Span("|", "dim"),
    ]


LEGS = [
    Column("LEG", lambda leg: leg["role"], left=True),
    Column("UPSTREAM", lambda leg: leg["upstream"], left=True, flexible=14),
    Column("REQUEST", lambda leg: leg["request"], left=True, flexible=8, spare=2),
    Column("CODE", lambda leg: leg["status"]),
    Column("STARTED", lambda leg: leg["started"]),
    Column("HEAD", lambda leg: leg["head"]),
    Column("END", lambda leg: leg["end"]),
    Column("BYTES", lambda leg: leg["bytes"], spare=1),
    Column("ENDING", lambda leg: leg["ending"], left=True),
]


def _legs(legs: tuple[Leg, ...], width: int | None) -> list[Line]:
    rows = [
        {
            "role": leg.role,
            "upstream": leg.upstream,
            "request": f"{leg.request.method} {leg.request.target}",
            "status": str(leg.response.status or ""),
            "started": duration(leg.started / 1e9),
            "head": duration((leg.started + leg.response.timeline.head) / 1e9),
            "end": duration((leg.started + leg.response.timeline.end) / 1e9),
            "bytes": size(len(leg.response.body)),
            "ending": leg.response.ending.name.lower(),
        }
        for leg in legs
    ]
    measured = layout(LEGS, rows, width)
    return [measured.heading(), *(measured.row(row) for row in rows)]


# The answer


def _text(it: ExchangeView, width: int | None, most: int | None) -> list[Line]:
    choices = [message for message in answer_messages(it.response) if message.role != "error" and message.parts]
    if choices:
        return [line for choice in choices for line in _choice(choice, len(choices) > 1, width, most)]
    content = decoded(it.response)
    if not content:
        return [[Span("no body", "dim")]]
    text = body.as_text(body.pretty(content))
    if text is None:
        return [[Span(f"a body of {size(len(content))} that is no text; --print b --raw > FILE writes it", "dim")]]
    return _shown("body", text, width, most)


def _choice(choice: ChatMessage, several: bool, width: int | None, most: int | None) -> Iterator[Line]:
    """What one choice of an answer consists of, in its order: reasoning, text, tool calls."""
    of = f" of choice {choice.choice}" if several else ""
    for part in choice.parts:
        if part.kind == TOOL_CALL:
            named = " ".join(filter(None, (part.name, f"({part.id})" if part.id else "")))
            arguments = body.as_text(body.pretty(part.text.encode("utf-8", "replace"))) or part.text
            yield from _shown(f"{part.kind}{of}: {named}", arguments, width, most)
        else:
            yield from _shown(f"{part.kind}{of}", part.text, width, most)


def _shown(head: str, text: str, width: int | None, most: int | None) -> list[Line]:
    lines = [part for line in _split(text) for part in _wrapped(line, None if width is None else width - 2)]
    rest = 0 if most is None else len(lines) - most
    if rest <= 0:
        return [[Span(head, "dim")], *([Span("  " + line)] for line in lines)]
    more = f"  … {plural(rest, 'more line')}: --no-trunc"
    return [[Span(head, "dim")], *([Span("  " + line)] for line in lines[:most]), [Span(more, "dim")]]


def _split(text: str) -> list[str]:
    return visible_lines(text).expandtabs(4).removesuffix("\n").split("\n")


def _wrapped(line: str, width: int | None) -> list[str]:
    """A line as rows of the terminal, broken at blanks where there are any."""
    if width is None:
        return [line]
    return textwrap.wrap(line, max(20, width), replace_whitespace=False, break_on_hyphens=False) or [""]


def next_steps() -> list[Span | str]:
    """Where to look from here."""
    steps = (("--print HBhb", "heads and bodies"), ("--print t", "each chunk"), ("--json", "everything"))
    return [Span("Next:", "dim"), *(part for flag, what in steps for part in (f"  {flag}", Span(f" {what}", "dim")))]
