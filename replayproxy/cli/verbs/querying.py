"""`sql`: one statement of SQL on a cassette, with our functions and views."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from replayproxy.cli.filtering import typed_value
from replayproxy.cli.interrupting import interruptible
from replayproxy.cli.options import plain_option
from replayproxy.cli.terminal.output import Output, output_family
from replayproxy.cli.terminal.screen import on_stderr
from replayproxy.views.units import plural


@click.command
@click.argument("cassette", type=click.Path(path_type=Path))
@click.argument("query")
@plain_option(
    "-p", "--param", "values", type=(str, str), multiple=True, metavar="NAME VALUE", help="Bind :NAME in the query."
)
@output_family
def sql(cassette: Path, query: str, values: tuple[tuple[str, str], ...], output: Output) -> int:
    """Run one SQL statement on CASSETTE, which is opened to read only. QUERY is `-` to read it from stdin.

    Views: v_exchange has a row per exchange, v_message one per message of a request or an answer, v_chunk one per
    chunk with its time, v_leg one per leg of a prefill/decode pair. Functions take the number of an exchange: rp_prompt
    and rp_text (last message, text of the answer), rp_request and rp_response (bodies as text), rp_headers(number,
    'request' or 'response'), rp_messages and rp_chunks (JSON).

    \b
    Examples:
      replayproxy sql chat.cassette 'select model, max(ttft_s) from v_exchange'
      replayproxy sql chat.cassette 'select id, rp_text(number) from v_exchange'
      replayproxy sql chat.cassette 'select * from v_chunk where gap_s > 0.05'
    """
    from replayproxy.cassette.sql_session import SqlSession

    text = sys.stdin.read() if query == "-" else query
    bound = {name.lstrip(":@$"): typed_value(value) for name, value in values}
    if not text.strip():
        raise click.UsageError("QUERY is empty: give a statement, such as 'select * from v_exchange'")
    for word in (text, *bound, *(value for value in bound.values() if isinstance(value, str))):
        if any(0xD800 <= ord(character) < 0xE000 for character in word):
            raise click.UsageError(f"{word!r} is not UTF-8")
    with interruptible() as stop, SqlSession(cassette, stop.is_set) as session:
        names, rows = session.run(text, bound)
        if output.is_for_people:
            _table(names, rows, output, cassette)
        else:
            output.rows(names, ({n: _value(v) for n, v in zip(names, row, strict=True)} for row in rows), cassette)
    return 0


def _value(value: object) -> object:
    """Bytes as sqlite-utils writes them."""
    if isinstance(value, bytes):
        return {"$base64": True, "encoded": base64.b64encode(value).decode()}
    return value


def _table(names: Sequence[str], rows: Iterable[Sequence[Any]], output: Output, cassette: Path) -> None:
    from replayproxy.cli.terminal import table

    shown = 0

    def counted() -> Iterator[dict[str, Any]]:
        nonlocal shown
        for row in rows:
            shown += 1
            yield dict(zip(names, row, strict=True))

    with output.screen(cassette) as screen:
        # On a terminal too, columns are measured by the first thousand rows: there may be millions.
        width = screen.width if output.trunc else None
        layout, listed = table.measured([_column(name) for name in names], counted(), width)
        if output.headers and names:
            screen.line(*layout.heading())
        for row in listed:
            screen.line(*layout.row(row))
    if layout.hidden:
        on_stderr().prose(f"No room for {', '.join(layout.hidden)}: widen the terminal, or --no-trunc.")
    on_stderr().line(plural(shown, "row"))


def _column(name: str) -> Any:
    from replayproxy.cli.terminal.table import Column

    return Column(name, _text_of(name), left=True, flexible=8)


def _text_of(name: str) -> Callable[[Any], str]:
    def text(row: Any) -> str:
        value = row[name]
        if value is None:
            return ""
        return f"<{plural(len(value), 'byte')}>" if isinstance(value, bytes) else str(value)

    return text
