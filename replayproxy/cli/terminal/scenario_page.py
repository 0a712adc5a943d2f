"""What `drive --scenario` prints: FTL and TPS of each user and phase, cache hits, stalls. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from replayproxy.cli.terminal.screen import Screen, Span
from replayproxy.cli.terminal.table import Column, layout
from replayproxy.views.units import count, duration

if TYPE_CHECKING:
    from replayproxy.drive.scenario_results import CacheHits, PhaseResult
    from replayproxy.scenario_run import ScenarioResult

TITLES = {"warmup": "Warm-up", "run": "Run"}


def scenario_page(result: ScenarioResult, verdict: tuple[int, str], screen: Screen, *, checks_quality: bool) -> None:
    """The whole page."""
    for phase in result.phases:
        _phase(phase, screen, checks_quality=checks_quality)
    if result.hits is not None:
        _hits(result.hits, screen)
    for name, other in result.stalled:
        screen.under(f"{name} stalled while {other} was prefilled")
    if result.is_estimated:
        screen.under("the server has no /tokenize: lengths of prompts are estimated by words")
    code, why = verdict
    screen.prose(Span(f"exit {code}", "green" if not code else "yellow" if code == 9 else "bold red"), f" ({why})")


def _phase(phase: PhaseResult, screen: Screen, *, checks_quality: bool) -> None:
    screen.line(
        Span(TITLES[phase.name], "bold cyan"),
        f"  FTL {_time(phase.ftl)}, TPS {_number(phase.tps)} per user, {_number(phase.total_tps)} in total",
    )
    columns = [
        Column("request", lambda row: row["user"].name, left=True),
        Column("FTL", lambda row: _time(row["user"].ftl)),
        Column("TPS", lambda row: _number(row["user"].tps)),
        Column("total", lambda row: _time(row["user"].total)),
        Column("prompt", lambda row: _count(row["user"].prompt_tokens)),
        Column("cached", lambda row: _count(row["user"].cached_tokens), spare=2),
        Column("output", lambda row: _count(row["user"].output_tokens)),
        Column("longest gap", lambda row: _time(row["user"].longest_gap), spare=1),
        Column("stalls", lambda row: str(len(row["user"].stalls) or ""), spare=3),
    ]
    if checks_quality:
        columns.append(Column("text", lambda row: ", ".join(row["user"].quality) or "well", left=True))
    if not phase.is_ok:
        columns.append(Column("failed", lambda row: row["user"].reason, left=True, flexible=10))
    rows = [{"user": user} for user in phase.users]
    table = layout(columns, rows, screen.width)
    screen.line(*table.heading())
    screen.lines([table.row(row) for row in rows])


def _hits(hits: CacheHits, screen: Screen) -> None:
    for name, value in (
        ("usage", hits.by_usage),
        ("/metrics", hits.by_metrics),
        ("theoretical", hits.theoretical),
    ):
        screen.entry("hit rate", f"{'not stated' if value is None else f'{100 * value:.1f} %'} by {name}")


def _time(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _count(value: int | None) -> str:
    return "" if value is None else count(value)
