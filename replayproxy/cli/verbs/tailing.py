"""`tail`: follow a recording, one line per exchange that has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import urlencode

import click

from replayproxy.cli.filtering import choosing
from replayproxy.cli.interrupting import interruptible
from replayproxy.cli.options import plain_option
from replayproxy.cli.terminal.output import Form, Output, output_family
from replayproxy.cli.terminal.screen import Line, Screen, Span
from replayproxy.views.port import ExchangeFilter, ExchangeRow
from replayproxy.views.units import count, duration

if TYPE_CHECKING:
    from replayproxy.views.following import EndedExchange

SHOWN = 10
"""Exchanges that are shown first by default."""

EVERY_S = 0.5
"""Seconds between two looks at the file or the admin port."""

MOST = 500
"""Rows that the admin port gives at a time."""


class Source(NamedTuple):
    """What is followed: the exchanges that are there, and those that have ended since the last look."""

    begin: Callable[[int], Sequence[EndedExchange]]
    more: Callable[[], Sequence[EndedExchange]]


@click.command
@click.argument("source", metavar="CASSETTE|URL")
@plain_option("-n", "--limit", type=click.IntRange(0), default=SHOWN, show_default=True, help="Show so many first.")
@plain_option("--no-follow", is_flag=True, help="End after these.")
@choosing
@output_family
def tail(source: str, limit: int, no_follow: bool, chosen: ExchangeFilter, output: Output) -> int:
    """Print each exchange as it ends: of a CASSETTE that is recorded on, or of the proxy whose admin port is at URL.

    Ctrl-C ends it. With --nl, one JSON object per line, with the columns of v_exchange and the last message of the
    request.

    \b
    Examples:
      replayproxy tail chat.cassette --no-follow
      replayproxy tail http://127.0.0.1:8081 -n 0
      replayproxy tail chat.cassette --where 'status >= 400' --nl
    """
    if output.form not in (Form.TABLE, Form.NL):
        raise click.UsageError("tail prints lines: leave the format out, or choose --nl")
    if source.startswith(("http://", "https://")):
        if chosen != ExchangeFilter():
            raise click.UsageError("--where, --since and --until need the cassette itself: name it instead of the URL")
        followed, inputs = _proxy(source), tuple[Path, ...]()
    else:
        followed, inputs = _file(Path(source), chosen), (Path(source),)
    with interruptible() as stop, output.screen(*inputs) as screen:
        _print(followed.begin(limit), screen, output)
        while not no_follow and not stop.wait(EVERY_S):
            _print(followed.more(), screen, output)
    return 0


def _file(path: Path, chosen: ExchangeFilter) -> Source:
    """A cassette that may be recorded on. Raises `CassetteError`, and `SettingsError` for a bad filter."""
    from replayproxy.cassette.browse import CassetteBrowser
    from replayproxy.views.following import Following

    with CassetteBrowser.open(path) as browser:
        browser.check(chosen)
    following = Following(lambda: CassetteBrowser.open(path), chosen)
    return Source(following.begin, following.more)


def _proxy(url: str) -> Source:
    """A proxy by its admin port, whose inspector lists what it records. Raises `ReplayProxyError`."""
    from replayproxy.admin.service import PREFIX
    from replayproxy.cli.verbs.controlling import answer_of
    from replayproxy.views.following import EndedExchange, Ends

    def rows(**query: int) -> list[ExchangeRow]:
        document: Any = answer_of(url, f"{PREFIX}/list.json?{urlencode(query)}")
        return cast(list[ExchangeRow], document["rows"])[::-1]

    ends = Ends()

    def begin(limit: int) -> list[EndedExchange]:
        newest = rows(n=MOST)
        ended = ends.note(newest)
        return [EndedExchange(row, "") for row in ended[len(ended) - min(limit, len(ended)) :]]

    def more() -> list[EndedExchange]:
        return [EndedExchange(row, "") for row in ends.note(rows(n=MOST, after=ends.after))]

    return Source(begin, more)


def _print(ended: Sequence[EndedExchange], screen: Screen, output: Output) -> None:
    for row, prompt in ended:
        if output.is_for_people:
            screen.line(*_line(row, prompt, screen.width if output.trunc else None))
        else:
            output.line(screen.stream, {**row, "prompt": prompt})
    screen.stream.flush()


def _line(row: ExchangeRow, prompt: str, width: int | None) -> Line:
    """`09:14:03.118  7f3a1c02  200  tiny  31 tok  TTFT 195 ms  5.91 s  stop  "Why is the sky blue?"`."""
    from replayproxy.views.listing import ending

    status = row["status"]
    tokens = "" if row["completion_tokens"] is None else f"{count(row['completion_tokens'])} tok"
    ttft = "" if row["ttft_s"] is None else f"TTFT {duration(row['ttft_s'])}"
    total = "" if row["total_s"] is None else duration(row["total_s"])
    endpoint = row["path"] if row["method"] == "POST" else f"{row['method']} {row['path']}"
    finish = ending(row)
    line = [
        Span(row["recorded_at"][11:23], "dim"),
        Span(f"  {row['id']}", "bold"),
        Span(f"  {status or '-':>3}", "red" if status >= 400 or not status else "green"),
        Span(f"  {row['model'] or endpoint:<14}  {tokens:>9}  {ttft:>12}  {total:>8}"),
        Span(f"  {finish:<10}", "" if row["ending"] == "complete" else "bold red"),
    ]
    room = None if width is None else width - sum(len(span.text) for span in line) - 4
    if prompt and (room is None or room > 8):
        text = prompt if room is None or len(prompt) <= room else prompt[: room - 1] + "…"
        line.append(Span(f'  "{text}"', "dim"))
    return line
