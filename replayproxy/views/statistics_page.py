"""The statistics as one HTML document that needs no network: tables, histograms, and what each number means.

Everything recorded (models, paths, file names) is escaped by `charts.svg.tag`. Scripts there are none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from replayproxy.views import starvation
from replayproxy.views.assertion import Finding
from replayproxy.views.charts.distribution import histogram
from replayproxy.views.charts.svg import Fragment, joined, tag
from replayproxy.views.statistics import EXPLAINED, PER, Group, distribution_rows, load_of
from replayproxy.views.units import NOTHING, count, duration, moment, plural

TITLES = {
    "ttft_s": "TTFT",
    "head_s": "Head",
    "prefill_s": "Prefill",
    "handover_s": "Hand-over",
    "decode_ttft_s": "Decode TTFT",
    "chunk_gap_s": "Chunk gap",
    "tpot_s": "TPOT",
    "total_s": "Total",
    "output_tokens": "Output tokens",
}

DRAWN = ("ttft_s", "chunk_gap_s", "tpot_s", "total_s")

FIGURES = ("avg", "min", "p50", "p90", "p95", "p99", "max", "std")

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--surface); max-width: 70rem;
  margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 0.5rem 0 1rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.15rem 0.7rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
h2 { margin-top: 2rem; overflow-wrap: anywhere; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1rem 2rem; }
figure { margin: 0; } figcaption, .note { color: var(--quiet); }
dt { font-weight: 600; } .fails { color: var(--bad); font-weight: 600; }
"""


def page(names: str, groups: Sequence[Group], findings: Sequence[Finding], style: str) -> str:
    """The whole document. `style` is the style sheet of the charts."""
    title = f"Statistics of {names}"
    head = tag(
        "head",
        Fragment('<meta charset="utf-8"><meta name="viewport" content="width=device-width">'),
        tag("title", title),
        tag("style", Fragment(style + STYLE)),
    )
    body = tag(
        "body",
        tag("h1", title),
        tag("p", _summary(groups)),
        *_judged(findings),
        *(part for group in groups for part in _group(group)),
        tag("h2", "What each number means"),
        tag("dl", *(joined(tag("dt", name), tag("dd", meaning)) for name, meaning in EXPLAINED.items())),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _summary(groups: Sequence[Group]) -> str:
    parts = [plural(sum(group.exchanges for group in groups), "exchange")]
    if groups and groups[0].span is not None:
        first, last = groups[0].span
        parts.append(f"{moment(first)[:19]} to {moment(last)[:19]} UTC")
    if errors := sum(group.errors for group in groups):
        parts.append(plural(errors, "error"))
    load = load_of(groups)
    if load is not None:
        parts.append(f"{load.requests_per_s:.3g} answers per second while busy ({duration(load.busy_s)})")
        if load.tokens_per_s is not None:
            parts.append(f"{count(round(load.tokens_per_s))} tokens per second")
        parts.append(f"in flight p50 {count(round(load.concurrency.p50))}, max {count(load.concurrency.max)}")
    return ", ".join(parts)


def _judged(findings: Sequence[Finding]) -> Iterator[Fragment]:
    if findings:
        yield tag("h2", "Claims")
        yield tag("ul", *(tag("li", str(one), class_=None if one.holds else "fails") for one in findings))


def _group(group: Group) -> Iterator[Fragment]:
    yield tag("h2", group.name)
    yield tag("p", f"{count(group.measured)} measured, {count(group.streamed)} streamed", class_="note")
    rows = [row for row in distribution_rows(group) if row["measure"] in TITLES]
    if not rows:
        yield tag("p", "Nothing to measure.")
        return
    heading = tag("tr", tag("th", ""), *(tag("th", name, scope="col") for name in (*FIGURES, "n")))
    yield tag("table", tag("thead", heading), tag("tbody", *map(_table_row, rows)))
    if group.gaps.is_sampled:
        yield tag("p", f"Gaps of {count(group.gaps.streams)} of {count(group.gaps.of)} streams, drawn at random.")
    if group.starved:
        yield tag("p", starvation.sentence(group.starved_s), class_="fails")
    yield tag("div", *(_drawn(group, name) for name in DRAWN if len(group.values[name]) > 1), class_="charts")


def _table_row(row: dict[str, Any]) -> Fragment:
    shown = count if row["measure"] == "output_tokens" else duration
    cells = [NOTHING if row[name] is None else shown(row[name]) for name in FIGURES]
    return tag(
        "tr",
        tag("th", TITLES[row["measure"]], scope="row"),
        *(tag("td", cell) for cell in cells),
        tag("td", count(row["n"])),
    )


def _drawn(group: Group, name: str) -> Fragment:
    values = [(value / PER[name], times) for value, times in group.values[name].items()]
    things = "gap" if name == "chunk_gap_s" else "answer"
    chart = histogram(f"{TITLES[name]} of {group.name}", values, things=things)
    return tag("figure", tag("figcaption", TITLES[name]), chart)
