"""`ls`, `show`, `info`: parse options, ask `views`, print.

Each verb loads its views and its page when it runs, so that `--help` and completion load none.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from replayproxy import output_files
from replayproxy.cli.filtering import choosing, opened
from replayproxy.cli.id_completion import recording_ids
from replayproxy.cli.options import plain_option
from replayproxy.cli.terminal.output import Form, Output, output_family
from replayproxy.cli.terminal.screen import on_stderr
from replayproxy.views.port import Browser, ExchangeFilter, RowOrder
from replayproxy.views.units import plural

FILE = click.Path(path_type=Path)

SERVER = "http://127.0.0.1:8000"
"""Where `--curl` sends a request: vLLM's own port. Which server was recorded stands on no cassette."""


@click.command
@click.argument("cassette", type=FILE, nargs=-1, required=True)
@plain_option(
    "-n", "--limit", type=click.IntRange(0), help="Number of rows: the newest, or the first by --sort; 0: all."
)
@plain_option("--sort", metavar="COLUMN", help="Sort by this column instead of time; -COLUMN: the largest first.")
@choosing
@output_family
def ls(cassette: tuple[Path, ...], limit: int | None, sort: str | None, chosen: ExchangeFilter, output: Output) -> None:
    """List the exchanges on CASSETTE, the newest last.

    A terminal gets the newest 50 by default, a pipe gets all. Data formats have every column of the view v_exchange,
    and --where and --sort take each of them.

    \b
    Examples:
      replayproxy ls chat.cassette
      replayproxy ls chat.cassette --sort -ttft_s -n 10
      replayproxy ls chat.cassette --where 'ending <> :e' -p e complete --csv
    """
    from replayproxy.cli.terminal import list_table
    from replayproxy.views import listing

    with opened(cassette, chosen) as browsers:
        fields = browsers[0].columns()
        order = list_table.read_order(sort, fields) if sort else None
        if output.is_for_people:
            _print_list(browsers, chosen, order, limit, output)
        else:
            names = fields if len(browsers) == 1 else ["cassette", *fields]
            output.rows(names, listing.rows(browsers, chosen, order, limit or None), *cassette)


def _print_list(
    browsers: Sequence[Browser],
    chosen: ExchangeFilter,
    order: RowOrder | None,
    limit: int | None,
    output: Output,
) -> None:
    from replayproxy.cli.terminal import list_table, table
    from replayproxy.views import listing

    printed, day = listing.PrintedRows(), ""
    there = listing.RowCount.of(browsers, chosen)
    with output.screen(*(browser.path for browser in browsers)) as screen:
        most = list_table.NEWEST if limit is None and screen.is_terminal else limit or None
        rows = printed.watch(listing.rows(browsers, chosen, order, most))
        gaps = min(there.chosen, most or there.chosen) <= list_table.FEW
        if gaps:
            rows = listing.with_streams(rows, browsers)
        columns = partial(list_table.columns, several=len(browsers) > 1, gaps=gaps)
        if screen.width is None or not output.trunc:
            layout, shown = table.measured(columns(), rows)
        else:
            held = list(rows)
            days = {row["recorded_at"][:10] for row in held}
            day = days.pop() if len(days) == 1 else ""
            start = list_table.start_time if day else list_table.start_second
            layout, shown = table.layout(columns(start=start), held, screen.width), iter(held)
        if output.headers:
            screen.line(*layout.heading())
        for row in shown:
            screen.line(*layout.row(row))
    names = str(browsers[0].path) if len(browsers) == 1 else plural(len(browsers), "cassette")
    below = on_stderr()
    for line in list_table.footer(printed, there, names, order=order, day=day, hidden=layout.hidden):
        below.prose(*line)


@click.command
@click.argument("cassette", type=FILE)
@click.argument("id", required=False, shell_complete=recording_ids)
@plain_option(
    "--print",
    "letters",
    metavar="LETTERS",
    help="Parts: H h heads, B b bodies, t every chunk with its time, m all fields.",
)
@plain_option("--curl", is_flag=True, help="Print the command that sends the request again, to a server on port 8000.")
@plain_option("--raw", is_flag=True, help="With --print into a pipe or file: the unchanged bytes.")
@output_family
def show(cassette: Path, id: str | None, *, letters: str | None, curl: bool, raw: bool, output: Output) -> None:
    """Show one exchange of CASSETTE: the request, the answer and the time of each chunk.

    ID is any unique prefix of an id; without it the newest exchange is shown. --json is one object with everything;
    --csv and --tsv have one row per chunk.

    \b
    Examples:
      replayproxy show chat.cassette 7f3a
      replayproxy show chat.cassette 7f3a --print HBhb
      replayproxy show chat.cassette 7f3a --print b --raw > answer.sse
      replayproxy show chat.cassette 7f3a --csv > chunks.csv
      replayproxy show chat.cassette 7f3a --curl
    """
    from replayproxy.cassette.browse import CassetteBrowser
    from replayproxy.views import exchange
    from replayproxy.views.exchange_id import resolve

    _check_letters(letters, raw, output)
    if curl and (letters is not None or not output.is_for_people):
        raise click.UsageError("--curl prints a command: leave --print and the data formats out")
    with CassetteBrowser.open(cassette) as browser:
        it = exchange.ExchangeView.of(browser, resolve(browser, id))
    if curl:
        from replayproxy.views.curl import curl_command

        with output.screen(cassette) as screen:
            screen.text(curl_command(it.exchange.request, SERVER))
        return
    match output.form:
        case Form.JSON | Form.NL:
            output.value(exchange.as_data(it), cassette)
        case Form.CSV | Form.TSV:
            output.rows(exchange.CHUNK_FIELDS, exchange.chunk_rows(it), cassette)
        case Form.TABLE if letters is None:
            from replayproxy.cli.terminal import exchange_page

            with output.screen(cassette) as screen:
                exchange_page.page(it, screen, trunc=output.trunc)
            on_stderr().prose(*exchange_page.next_steps())
        case Form.TABLE if raw:
            from replayproxy.cli.terminal import exchange_parts

            output.raw(exchange_parts.raw_parts(it, letters or ""), cassette)
        case Form.TABLE:
            from replayproxy.cli.terminal import exchange_parts

            with output.screen(cassette) as screen:
                exchange_parts.parts(it, letters or "", screen, trunc=output.trunc)


def _check_letters(letters: str | None, raw: bool, output: Output) -> None:
    from replayproxy.cli.terminal import exchange_parts

    unknown = set(letters or "") - set(exchange_parts.LETTERS)
    if unknown:
        raise click.UsageError(f"--print: there is no part {''.join(sorted(unknown))!r}; parts are H B h b t m")
    if letters is not None and not output.is_for_people:
        raise click.UsageError("--print chooses parts for people; data formats have everything")
    if not raw:
        return
    if not letters or set(letters) - set("HBhb"):
        raise click.UsageError("--raw goes with --print and the letters H B h b: only heads and bodies have bytes")
    if sys.stdout.isatty() if output.path is None else output_files.is_terminal(output.path):
        raise click.UsageError("--raw could take over this terminal: send it into a pipe or a file, or leave --raw out")


@click.command
@click.argument("cassette", type=FILE)
@output_family
def info(cassette: Path, output: Output) -> None:
    """Describe CASSETTE: its format and rules, its contents with their sizes, and what was not recorded.

    \b
    Examples:
      replayproxy info chat.cassette
      replayproxy info chat.cassette --json
    """
    from replayproxy.cassette.browse import CassetteBrowser
    from replayproxy.cli.terminal import cassette_page
    from replayproxy.views import cassette_info

    with CassetteBrowser.open(cassette) as browser:
        summary = browser.summary()
    match output.form:
        case Form.JSON | Form.NL:
            output.value(cassette_info.as_data(summary), cassette)
        case Form.CSV | Form.TSV:
            output.rows(("name", "value"), cassette_info.flat(cassette_info.as_data(summary)), cassette)
        case Form.TABLE:
            with output.screen(cassette) as screen:
                cassette_page.page(summary, screen)
