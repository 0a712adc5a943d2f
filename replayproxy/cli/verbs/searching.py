"""`search`: find exchanges by words in prompts and answers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replayproxy.cli.filtering import choosing
from replayproxy.cli.options import plain_option
from replayproxy.cli.terminal import messages
from replayproxy.cli.terminal.output import Output, output_family
from replayproxy.cli.terminal.progress import progress
from replayproxy.cli.terminal.screen import Line, Screen, Span, on_stderr
from replayproxy.views.port import ExchangeFilter
from replayproxy.views.units import plural

if TYPE_CHECKING:
    from replayproxy.cassette.browse import CassetteBrowser
    from replayproxy.cassette.search_index import SearchIndex

MOST = 20
"""Exchanges that are listed by default."""

BATCH = 200
"""Hits whose rows are asked for by one statement."""

FIELDS = ("id", "number", "recorded_at", "model", "status", "prompt", "answer")


@click.command
@click.argument("cassette", type=click.Path(path_type=Path))
@click.argument("text")
@plain_option(
    "-n", "--limit", type=click.IntRange(0), default=MOST, show_default=True, help="Number of exchanges; 0: all."
)
@choosing
@output_family
def search(cassette: Path, text: str, limit: int, chosen: ExchangeFilter, output: Output) -> int:
    """Find the exchanges of CASSETTE that have all words of TEXT in their prompts and answers, the best first.

    A phrase stands in double quotes, word* finds what begins so, and case and accents do not matter. The index stands
    beside the cassette, in CASSETTE.search; it is made by the first search and can be removed at any time. Exit code 1:
    nothing was found.

    \b
    Examples:
      replayproxy search chat.cassette hello
      replayproxy search chat.cassette '"refund policy" invoice*' --since 7d
    """
    from replayproxy.cassette.browse import CassetteBrowser
    from replayproxy.cassette.search_index import SearchIndex, query_of

    query_of(text)  # a mistake is named before the index is made
    with CassetteBrowser.open(cassette) as browser, SearchIndex(browser.cassette) as index:
        browser.check(chosen)
        with progress() as watch:
            index.update(watch)
        if index.path is None:
            messages.warning(f"nothing can be written beside {cassette}: the index is made again by each search")
        rows = list(islice(_rows(browser, index, text, chosen), limit or None))
    if not output.is_for_people:
        output.rows(FIELDS, map(_plain, rows), cassette)
    else:
        with output.screen(cassette) as screen:
            for row in rows:
                _print(screen, row)
        found = plural(len(rows), "exchange") if rows else "No exchange"
        more = f"; -n 0 lists all, here the best {limit}" if limit and len(rows) == limit else ""
        on_stderr().line(f"{found} with {text!r} in {cassette}{more}.")
        if rows:
            on_stderr().line(f"Next:  replayproxy show {cassette} {rows[0]['id']}")
    return 0 if rows else 1


def _rows(browser: CassetteBrowser, index: SearchIndex, text: str, chosen: ExchangeFilter) -> Iterator[dict[str, Any]]:
    """The hits that meet the filter, each with its row."""
    from dataclasses import replace

    hits = index.find(text)
    while some := list(islice(hits, BATCH)):
        numbers = f"number IN ({','.join(str(hit.number) for hit in some)})"
        where = numbers if chosen.where is None else f"({chosen.where}\n) AND {numbers}"
        rows = {row["number"]: row for row in browser.rows(replace(chosen, where=where))}
        for hit in some:
            if hit.number in rows:
                yield {**rows[hit.number], "prompt": hit.prompt, "answer": hit.answer}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the marks around what was found."""
    return {**row, **{name: "".join(part for part, _ in _parts(row[name])) for name in ("prompt", "answer")}}


def _parts(snippet: str) -> Iterator[tuple[str, bool]]:
    """The parts of a snippet, and whether each was found."""
    from replayproxy.cassette.search_index import BEGIN, END

    before, *marked = snippet.split(BEGIN)
    yield before, False
    for part in marked:
        found, _, rest = part.partition(END)
        yield found, True
        yield rest, False


def _print(screen: Screen, row: dict[str, Any]) -> None:
    from replayproxy.cassette.search_index import BEGIN

    screen.line(
        Span(row["id"], "bold"),
        f"  {str(row['recorded_at']).replace('T', ' ').removesuffix('Z')}  {row['model'] or ''}".rstrip(),
        Span(f"  {row['status'] or 'no answer'}", "red" if row["status"] >= 400 else "dim"),
    )
    for name in ("prompt", "answer"):
        # The side without a hit tells what the exchange is about.
        if BEGIN in row[name] or name == "prompt":
            screen.under(*_line(name, row[name]))


def _line(name: str, snippet: str) -> Line:
    spans = [
        Span(" ".join(text.split("\n")), "bold yellow" if found else "") for text, found in _parts(snippet) if text
    ]
    return [Span(name.ljust(8), "dim"), *spans]
