"""The page of `calibrate` for people: what varies, the rules that drop it, and what they would make equal."""

from __future__ import annotations

from replayproxy.cli.terminal.screen import Screen, Span
from replayproxy.core.identity.calibration import Calibration, Merged
from replayproxy.views.calibration_fields import as_flags
from replayproxy.views.units import count, plural

SHOWN = 10
"""Requests of each kind that are listed."""


def calibration_page(found: Calibration, screen: Screen) -> None:
    """The whole page."""
    first, second = found.requests
    screen.prose(
        f"{plural(first, 'request')} in the first run, {count(second)} in the second; ",
        Span(f"{count(found.before)} of {count(second)}", "bold"),
        " find their recording by the present rules, ",
        Span(f"{count(found.after)} of {count(second)}", "bold green" if found.after == second else "bold yellow"),
        " by the proposed ones.",
    )
    for proposal, flag in zip(found.proposals, as_flags(found.proposals), strict=True):
        evidence = proposal.evidence
        times = f" ({plural(evidence.times, 'place')})" if evidence.times > 1 else ""
        screen.line(Span(flag, "bold"))
        screen.under(f"{evidence.path}{times}: {evidence.first!r}, then {evidence.second!r}")
    if not found.proposals and found.after == second:
        screen.line("Nothing varies: no rule is needed.")
    _unexplained(found, screen)
    for group in found.merged[:SHOWN]:
        _merged(group, screen)
    if found.proposals and not any(group.stable for group in found.merged):
        screen.line("No request that both runs asked equally falls together with another one.")


def _unexplained(found: Calibration, screen: Screen) -> None:
    for left in found.unexplained[:SHOWN]:
        if left.first is None:
            why = "no request of the first run resembles it: the program asked something else"
            screen.prose(Span(f"request {left.second + 1} of the second run", "yellow"), f": {why}")
            continue
        screen.prose(
            Span(f"request {left.second + 1} of the second run", "yellow"),
            f" differs from {left.first + 1} of the first in what no narrow rule can drop:",
        )
        for place in left.places:
            screen.under(f"{place.path}: {place.first!r}, then {place.second!r}")
    if len(found.unexplained) > SHOWN:
        screen.line(Span(f"… {count(len(found.unexplained) - SHOWN)} more: --json", "dim"))


def _merged(group: Merged, screen: Screen) -> None:
    numbers = ", ".join(count(number + 1) for number in group.requests)
    where = ", ".join(group.paths[:4])
    run = ("first", "second")[group.run]
    if group.stable:
        text = f"requests {numbers} of the {run} run fall together, and both runs asked them so: they differ at {where}"
        screen.prose(Span("unsafe", "bold red"), f" {text}")
        return
    screen.prose(Span("note", "yellow"), f" requests {numbers} of the {run} run differ at {where} in what varies only")
