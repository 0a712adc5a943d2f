"""What `drive` shows: the plan before a run, a live table while it runs, and its result. Decides nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from replayproxy.cli.terminal import messages
from replayproxy.cli.terminal.screen import Screen, Span
from replayproxy.cli.terminal.table import Column, layout
from replayproxy.core.stats import Summary, percentile
from replayproxy.core.visible import visible
from replayproxy.drive.results import NOTED_LATENESS, Outcome
from replayproxy.views.units import count, duration, plural

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from replayproxy.drive.driver import Driver
    from replayproxy.drive.plan import DrivePlan
    from replayproxy.drive.results import RunSummary, TimeRow

EVERY_NS = 10_000_000_000
"""Between two lines of a log, where nobody watches."""

MOST_REASONS = 5


def plan_page(plan: DrivePlan, notes: list[str], upstream: str, screen: Screen) -> None:
    """The plan of `--dry-run`."""
    took, most = plan.expected()
    turns = [request.turn for request in plan.requests]
    tokens = [
        sum(turn.prompt_tokens or 0 for turn in turns),
        sum(turn.output_tokens or 0 for turn in turns),
    ]
    screen.prose(Span("plan", "bold cyan"), f" for {upstream}")
    screen.entry("requests", f"{count(len(turns))} in {plural(plan.sessions, 'session')}")
    screen.entry("sent", _arrival_words(plan))
    screen.entry("duration", f"{duration(took / 1e9)}, if answers take as long as they did")
    screen.entry("in flight", f"{count(most)} at most")
    screen.entry("tokens", f"{count(tokens[0])} of prompts, {count(tokens[1])} of answers, as recorded")
    for note in notes:
        screen.under(note)


def _arrival_words(plan: DrivePlan) -> str:
    options = plan.options
    turns = {
        "recorded": "each turn after the answer before it",
        "think": "each turn after the recorded pause",
        "none": "turns do not wait for each other",
    }[options.turns]
    if options.concurrency is not None:
        return f"by {plural(options.concurrency, 'user')}, one session after the other; {turns}"
    if options.process is not None:
        spread = {None: "evenly", 1.0: "as a Poisson process"}.get(options.process.shape, "in bursts (gamma)")
        return f"{options.process.rate:g} per second, {spread}; {turns}"
    return f"at the recorded times, speed {options.speed:g}; {turns}"


def result_page(summary: RunSummary, screen: Screen) -> None:
    """The result of a run."""
    outcomes = [f"{count(summary.outcomes[one])} {one.value}" for one in Outcome if summary.outcomes[one]]
    screen.entry("requests", f"{count(summary.planned)} planned: {', '.join(outcomes)}")
    screen.entry(
        "run",
        f"{duration(summary.took / 1e9)}, {count(summary.most_in_flight)} in flight at most,"
        f" {count(summary.output_tokens)} output tokens",
    )
    if summary.lateness is not None:
        late = summary.lateness
        style = "red" if summary.is_late else "yellow" if late.p99 > NOTED_LATENESS else ""
        words = f"p50 {_time(late.p50)}, p99 {_time(late.p99)}, max {_time(late.max)}"
        connecting = "" if summary.connecting is None else f"; connect and write p99 {_time(summary.connecting.p99)}"
        screen.entry("lateness", Span(words, style), connecting)
    if summary.waiting is not None:
        screen.entry("waited", f"{count(summary.waiting.n)} for --max-in-flight, p99 {_time(summary.waiting.p99)}")
    if summary.kept_history:
        screen.entry(
            "history", f"{count(summary.kept_history)} recorded answers stayed: the live ones call other tools"
        )
    rows = [row for row in summary.times if row.now is not None]
    if rows:
        _times(rows, screen)
    for reason, times in summary.reasons.most_common(MOST_REASONS):
        screen.under(f"{count(times)} times: {reason}")
    code, why = summary.verdict
    screen.prose(Span(f"exit {code}", "green" if not code else "yellow" if code == 9 else "bold red"), f" ({why})")


def _times(rows: list[TimeRow], screen: Screen) -> None:
    columns = (
        Column("time", lambda row: row["row"].name, left=True),
        Column("recorded p50", lambda row: _of(row["row"].recorded, "p50")),
        Column("recorded p95", lambda row: _of(row["row"].recorded, "p95"), spare=2),
        Column("now p50", lambda row: _of(row["row"].now, "p50")),
        Column("now p95", lambda row: _of(row["row"].now, "p95"), spare=1),
        Column("ratio of p50", lambda row: "" if row["row"].ratio is None else f"{row['row'].ratio:.3f}"),
        Column("answers", lambda row: "" if row["row"].now is None else count(row["row"].now.n), spare=3),
    )
    cells = [{"row": row} for row in rows]
    table = layout(columns, cells, screen.width)
    screen.line(*table.heading())
    screen.lines([table.row(row) for row in cells])


def _of(summary: Summary | None, name: str) -> str:
    return "" if summary is None else _time(getattr(summary, name))


def _time(nanoseconds: float) -> str:
    return duration(nanoseconds / 1e9)


# While it runs


class DriveDisplay:
    """Shows a driver at work: a table on a terminal, a line every ten seconds for a log. `update` it now and then."""

    def __init__(self, now: Callable[[], int], *, is_terminal: bool) -> None:
        self._now = now
        self._due = now() + EVERY_NS
        self._live: Live | None = None
        if is_terminal:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), transient=True, auto_refresh=False)
            self._live.start()

    def update(self, driver: Driver, planned: int, title: str) -> None:
        """Show how far it is."""
        if self._live is not None:
            self._live.update(_table(driver, planned, title), refresh=True)
        elif self._now() >= self._due:
            self._due = self._now() + EVERY_NS
            done = sum(driver.outcomes.values())
            messages.info(
                f"{title}{count(done)} of {count(planned)} requests done, {count(driver.in_flight)} in flight,"
                f" {count(_failed(driver))} failed",
                done=done,
                of=planned,
                in_flight=driver.in_flight,
            )

    def close(self) -> None:
        """Take the table away."""
        if self._live is not None:
            self._live.stop()


def _failed(driver: Driver) -> int:
    return driver.outcomes.total() - driver.outcomes[Outcome.OK] - driver.outcomes[Outcome.CANCELLED]


def _table(driver: Driver, planned: int, title: str) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    done = sum(driver.outcomes.values())
    recent = list(driver.recent)
    seconds = max(driver.elapsed / 1e9, 0.001)
    ttfts = sorted(one.answer.first_content for one in recent if one.answer.first_content is not None)
    late = sorted(one.lateness for one in recent if one.lateness is not None)
    table = Table.grid(padding=(0, 2))
    table.add_row(
        visible(title) or "drive", ProgressBar(total=planned, completed=done, width=30), f"{done} of {planned}"
    )
    table.add_row("sent", f"{driver.sent}, {driver.sent / seconds:.1f} per second", duration(driver.elapsed / 1e9))
    table.add_row("in flight", str(driver.in_flight), f"at most {driver.most_in_flight}")
    table.add_row("failed", str(_failed(driver)), "")
    for name, values in (("TTFT", ttfts), ("lateness", late)):
        if values:
            table.add_row(name, f"p50 {_time(percentile(values, 50))}", f"p99 {_time(percentile(values, 99))}")
    return table


@contextmanager
def drive_display(now: Callable[[], int], *, is_terminal: bool | None = None) -> Iterator[DriveDisplay]:
    """Show a run while the block runs."""
    display = DriveDisplay(now, is_terminal=sys.stderr.isatty() if is_terminal is None else is_terminal)
    try:
        yield display
    finally:
        display.close()
