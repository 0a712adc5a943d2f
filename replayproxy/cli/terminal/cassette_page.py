"""The page of `info` for people: what a cassette is and holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from replayproxy.cli.terminal.screen import Screen, Span
from replayproxy.cli.terminal.table import Column, layout
from replayproxy.core.server_facts import ServerFacts
from replayproxy.views import starvation
from replayproxy.views.cassette_info import creator
from replayproxy.views.port import CassetteSummary
from replayproxy.views.units import count, moment, plural, share, size

_PARTS = {
    "requests": "requests",
    "answers": "answers",
    "times": "times",
    "legs": "prefill/decode legs",
    "in_flight": "streams in flight",
    "dictionaries": "dictionaries",
    "rows_and_free_space": "rows, indexes, free space",
}

_SIZES = [
    Column("  IN THE FILE", lambda row: "  " + row["part"], left=True),
    Column("SIZE", lambda row: size(row["bytes"])),
    Column("OF RAW", lambda row: share(row["bytes"], row["raw"]) if row["bytes"] < row["raw"] else ""),
]


def page(summary: CassetteSummary, screen: Screen) -> None:
    """The whole page."""
    screen.line(Span(str(summary.path), "bold"))
    state = "sealed" if summary.is_sealed else "being recorded, or its recorder was killed"
    made = f"cassette format {summary.format}, by {creator(summary) or 'an unknown recorder'}, "
    screen.entry("format", made, Span(state, "" if summary.is_sealed else "yellow"))
    for head, text, style in _facts(summary):
        screen.entry(head, Span(text, style))
    sizes = summary.sizes
    raw = sizes.request_bodies + sizes.response_bodies
    bodies = f"bodies {size(raw)}: requests {size(sizes.request_bodies)}, answers {size(sizes.response_bodies)}"
    of_raw = f", {share(sizes.file, raw)}" if sizes.file < raw else ""
    screen.entry("sizes", f"{bodies}   ->   file {size(sizes.file)}{of_raw}")
    parts = asdict(sizes)
    rows = [{"part": name, "bytes": parts[part], "raw": raw} for part, name in _PARTS.items() if parts[part]]
    measured = layout(_SIZES, rows)
    screen.lines([measured.heading(), *map(measured.row, rows)])


def _facts(summary: CassetteSummary) -> Iterator[tuple[str, str, str]]:
    """Heads, texts and styles of the entries."""
    rules = summary.rules
    yield "match", f"{rules.profile}   ignores {' '.join(rules.paths()) or 'nothing'}", ""
    for head, names in (
        ("normalise", rules.normalise),
        ("headers", rules.headers),
        ("defaults", ["are as good as no field"] if rules.defaults else []),
    ):
        if names:
            yield head, " ".join(names), ""
    if summary.redaction_rules is None:
        yield "redaction", "none: recorded before secrets were masked", "yellow"
    else:
        yield "redaction", "   ".join(("credentials, known keys", *summary.redaction_rules)), ""
    yield from _server(summary.server)
    yield from _server_state(summary)
    yield from _meta(summary)
    when = ""
    if summary.first_recorded_at is not None and summary.last_recorded_at is not None:
        when = f", {moment(summary.first_recorded_at)}Z to {moment(summary.last_recorded_at)}Z"
    yield "recorded", plural(summary.exchanges, "exchange") + when, ""
    for head, counts in (
        ("endings", summary.endings),
        ("statuses", summary.statuses),
        ("models", summary.models),
        ("endpoints", summary.endpoints),
    ):
        if counts:
            yield head, _several(counts), ""
    yield from _warnings(summary)
    if summary.dictionaries:
        kinds = (f"{one.kind} #{one.id} {size(one.bytes)}" for one in summary.dictionaries)
        yield "trained", ", ".join(kinds), ""


def _server(facts: ServerFacts) -> Iterator[tuple[str, str, str]]:
    """What the recorded server answered about itself."""
    version = (facts.version or {}).get("version")
    texts = [f"version {version}"] if isinstance(version, str) else []
    texts += [f"serves {', '.join(sorted(facts.names))}"] if facts.names else []
    if texts:
        yield "server", ", ".join(texts), ""


def _server_state(summary: CassetteSummary) -> Iterator[tuple[str, str, str]]:
    """What is kept of the server's metrics and KV events."""
    if summary.server_state:
        yield "state", _several(summary.server_state), ""


def _meta(summary: CassetteSummary) -> Iterator[tuple[str, str, str]]:
    """The other entries of the table `meta`."""
    for name, text in summary.meta.items():
        if name == "left_out":
            yield "left out", f"fields of answers: {_several(summary.left_out)}", ""
        elif name != "creator" and not name.startswith("server_"):
            yield name, str(text), ""


def _warnings(summary: CassetteSummary) -> Iterator[tuple[str, str, str]]:
    """What is spoilt, missing, or not ours."""
    if summary.starved_answers:
        sentence = starvation.sentence(summary.longest_starved_s)
        yield "starved", f"{plural(summary.starved_answers, 'answer')}: {sentence}", "yellow"
    if summary.opaque:
        what = f"{plural(summary.opaque, 'exchange')} with a body in a coding that cannot be looked into"
        yield "opaque", what, "yellow"
    ends = summary.stream_ends
    if ends.missing:
        of = "" if ends.checked == ends.streams else f", of the newest {count(ends.checked)} of {count(ends.streams)}"
        what = f"{plural(sum(ends.missing.values()), 'stream')}{of}: {_several(ends.missing)}; verify checks them all"
        yield "no end event", what, "yellow"
    if summary.dropped:
        yield "dropped", _several(summary.dropped), "bold red"
    if summary.foreign:
        yield "not ours", ", ".join(f"{kind} {name}" for kind, name in summary.foreign), "yellow"


def _several(counts: Mapping[str, int], most: int = 8) -> str:
    shown = [f"{name} {count(number)}" for name, number in list(counts.items())[:most]]
    return ", ".join(shown) + (f", and {len(counts) - most} more: --json" if len(counts) > most else "")
