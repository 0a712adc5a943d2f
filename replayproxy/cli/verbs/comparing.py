"""`diff` and `compare`: parse options, read two recordings, print how they differ, and judge."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replayproxy import output_files
from replayproxy.cli.filtering import choosing, opened
from replayproxy.cli.options import F, plain_option
from replayproxy.cli.setting_options import setting_options
from replayproxy.cli.terminal import messages
from replayproxy.cli.terminal.output import Form, Output, output_family
from replayproxy.errors import SettingsError
from replayproxy.views.port import EVERYTHING, ExchangeFilter
from replayproxy.views.units import count

if TYPE_CHECKING:
    from replayproxy.cassette.browse import CassetteBrowser
    from replayproxy.core.comparison.gate import Gate
    from replayproxy.core.identity.rules import MatchRules
    from replayproxy.views.comparison import ComparisonPolicy, ComparisonReport, RunComparison
    from replayproxy.views.pairing import Pairing

FILE = click.Path(path_type=Path)

LEVELS = ("bytes", "frames", "canonical", "text", "structure", "none")

MANY = 2000
"""Pairs above which somebody who watches is told how many there are."""


def judging_options(level: str) -> Callable[[F], F]:
    """The options that `diff` and `compare` share; `level` is the default of `--level`."""

    def decorate(function: F) -> F:
        options: tuple[Callable[[Any], Any], ...] = (
            plain_option(
                "--gate",
                "gates",
                multiple=True,
                metavar="CONDITION",
                help="A condition that must hold, such as 'p95(ttft) <= 1.10' or 'missing == 0'; may be repeated.",
            ),
            plain_option(
                "--level",
                type=click.Choice(LEVELS),
                default=level,
                show_default=True,
                help="How far answers must agree; `none` judges gates alone.",
            ),
            plain_option("--partial", is_flag=True, help="Requests that only one side has do not count."),
            plain_option(
                "--inconclusive",
                type=click.Choice(["pass", "fail"]),
                help="What an undecided comparison counts as, in place of exit code 9.",
            ),
            plain_option(
                "--confidence",
                type=click.FloatRange(0.5, 0.999),
                default=0.95,
                show_default=True,
                help="Of the intervals.",
            ),
            plain_option("-n", "--limit", type=click.IntRange(0), default=10, show_default=True, help="Answers shown."),
            plain_option("--junit", type=FILE, help="Also write the result as JUnit XML to this file."),
            plain_option("--markdown", type=FILE, help="Also write a summary in Markdown, such as for a job's page."),
            plain_option("--html", type=FILE, help="Also write a page with charts to this file; it needs no network."),
            plain_option("--explain", is_flag=True, help="Explain each number."),
        )
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


@click.command
@click.argument("first", type=FILE, required=False)
@click.argument("second", type=FILE, required=False)
@click.argument("id", nargs=-1)
@judging_options("text")
@setting_options("diff", "match")
@choosing
@output_family
def diff(
    first: Path | None,
    second: Path | None,
    *,
    id: tuple[str, ...],
    chosen: ExchangeFilter,
    output: Output,
    **options: Any,
) -> int:
    """Compare the recordings FIRST and SECOND of the same requests: coverage, answers, times.

    Requests are joined by key and occurrence. With one ID, the exchange with this id and its partner are shown; with
    two, these two exchanges, whatever they asked. Exit code 5: something differs or a gate failed; 9: a gate could not
    be decided, or nothing was compared.

    \b
    Examples:
      replayproxy diff monday.cassette tuesday.cassette
      replayproxy diff old.cassette new.cassette --gate 'p95(ttft) <= 1.10'
      replayproxy diff old.cassette new.cassette --html diff.html
      replayproxy diff old.cassette new.cassette 3e91a0b2
    """
    if _is_explained(output, options):
        return 0
    if first is None or second is None:
        raise click.UsageError("name two cassettes, such as: replayproxy diff old.cassette new.cassette")
    if len(id) > 2:
        raise click.UsageError("give one id, or two: one of each cassette")
    rules = _rules(options)
    if id:
        if options["html"] is not None:
            raise click.UsageError("--html is for two cassettes: leave the ids away")
        return _one_pair(first, second, id, rules, output)
    from replayproxy.views.joining import joined

    return _judge(_Task("diff", [(first, second)], chosen, rules, joined), options, output)


@click.command
@click.argument("cassette", type=FILE, nargs=-1)
@judging_options("structure")
@plain_option(
    "--min-runs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Pairs of runs below which nothing is decided.",
)
@plain_option(
    "--noise",
    metavar="auto|CASSETTE",
    help="Measure how much runs of the first server differ: among the repeats, or against this recording of it.",
)
@setting_options("compare", "match")
@choosing
@output_family
def compare(
    cassette: tuple[Path, ...], *, noise: str | None, chosen: ExchangeFilter, output: Output, **options: Any
) -> int:
    """Judge a second server by recordings of the same work: CASSETTE... are FIRST SECOND, or FIRST SECOND FIRST SECOND.

    Requests are joined by the exchange that a driver noted in them, else as `diff` joins them. Several pairs are
    repeated runs, best interleaved: then a gate is decided on the ratios of the runs, which machine state does not
    bias. Exit code 5: a gate failed or answers have another structure; 9: undecided.

    \b
    Examples:
      replayproxy compare prod.cassette new.cassette --gate 'ttft <= 1.10'
      replayproxy compare a1.cassette b1.cassette a2.cassette b2.cassette \\
        --gate 'p95(ttft) <= 1.10' --gate 'regressions == 0' --noise auto
    """
    if _is_explained(output, options):
        return 0
    if len(cassette) < 2 or len(cassette) % 2:
        raise click.UsageError(
            f"{len(cassette)} cassettes: name pairs of first and second, such as:"
            " replayproxy compare prod.cassette candidate.cassette"
        )
    pairs = list(zip(cassette[::2], cassette[1::2], strict=True))
    rules = _rules(options)
    from replayproxy.views.joining import joined_by_source

    task = _Task("compare", pairs, chosen, rules, joined_by_source, _noise_runs(pairs, noise))
    return _judge(task, options, output)


def _noise_runs(pairs: Sequence[tuple[Path, Path]], noise: str | None) -> list[tuple[Path, Path]]:
    """Which recordings of the first server are compared with one another."""
    firsts = list(dict.fromkeys(first for first, _ in pairs))
    if noise is None:
        return []
    if noise != "auto":
        return [(firsts[0], Path(noise))]
    if len(firsts) < 2:
        raise click.UsageError("--noise auto needs repeated runs of the first server: name more pairs, or a cassette")
    return list(pairwise(firsts))


def _is_explained(output: Output, options: dict[str, Any]) -> bool:
    if not options.pop("explain"):
        return False
    from replayproxy.cli.terminal.comparison_page import comparison_explained

    with output.screen() as screen:
        comparison_explained(screen)
    return True


def _rules(options: dict[str, Any]) -> MatchRules | None:
    from replayproxy.api.options import match_rules

    return match_rules(options)


@dataclass(frozen=True, slots=True)
class _Task:
    """What to compare: pairs of cassettes, which of their exchanges, and how these are joined."""

    verb: str
    pairs: Sequence[tuple[Path, Path]]
    chosen: ExchangeFilter
    rules: MatchRules | None
    join: Callable[[CassetteBrowser, CassetteBrowser, ExchangeFilter, MatchRules | None], Pairing]
    noise: Sequence[tuple[Path, Path]] = ()

    @property
    def cassettes(self) -> list[Path]:
        return [path for pair in self.pairs for path in pair]

    def run(self, pair: tuple[Path, Path]) -> RunComparison:
        from replayproxy.views.comparison import compare_run

        with opened(pair, self.chosen) as (first, second):
            pairing = self.join(first, second, self.chosen, self.rules)
            pairs = len(pairing.pairs)
            if pairs > MANY and sys.stderr.isatty():
                messages.info(f"comparing {count(pairs)} pairs of answers, about {1 + pairs // 500} s …")
            return compare_run((str(pair[0]), str(pair[1])), pairing, first, second)


def _judge(task: _Task, options: dict[str, Any], output: Output) -> int:
    """Compare and judge; print and write everything that was asked."""
    from replayproxy.views.comparison import judge

    if output.form in (Form.CSV, Form.TSV, Form.NL):
        raise click.UsageError(f"{task.verb} is one result, not rows: use --json")
    written = {
        "--junit": options["junit"],
        "--markdown": options["markdown"],
        "--html": options["html"],
        "-o": output.path,
    }
    output_files.refuse_all(list(written.items()), task.cassettes)
    policy = _policy(options)
    runs = [task.run(pair) for pair in task.pairs]
    if task.noise:
        policy = _with_noise(policy, [task.run(pair) for pair in task.noise])
    report = judge(runs, policy)
    _print(report, output, task.cassettes, options["limit"])
    _write(report, options, task.cassettes, task.verb)
    return report.exit_code


def _policy(options: dict[str, Any]) -> ComparisonPolicy:
    from replayproxy.core.comparison.agreement_level import AgreementLevel
    from replayproxy.core.comparison.gate import Gate, GateOutcome
    from replayproxy.views.comparison import ComparisonPolicy

    outcomes = {"pass": GateOutcome.PASSED, "fail": GateOutcome.FAILED}
    gates: tuple[Gate, ...] = tuple(Gate.parse(text) for text in options["gates"])
    return ComparisonPolicy(
        gates=gates,
        level=AgreementLevel[options["level"].upper()],
        partial=options["partial"],
        min_runs=options.get("min_runs", 1),
        inconclusive=outcomes.get(options["inconclusive"], GateOutcome.INCONCLUSIVE),
        confidence=options["confidence"],
    )


def _with_noise(policy: ComparisonPolicy, same: Sequence[RunComparison]) -> ComparisonPolicy:
    from dataclasses import replace

    from replayproxy.views.comparison import noise_of

    return replace(policy, noise=noise_of(policy.gates, [run.times for run in same]))


def _print(report: ComparisonReport, output: Output, cassettes: Sequence[Path], limit: int) -> None:
    if not output.is_for_people:
        from replayproxy.views.comparison_fields import report_fields

        output.value(report_fields(report), *cassettes)
        return
    from replayproxy.cli.terminal.comparison_page import comparison_page

    with output.screen(*cassettes) as screen:
        comparison_page(report, screen, limit=limit, width=screen.width if output.trunc else None)


def _write(report: ComparisonReport, options: dict[str, Any], cassettes: Sequence[Path], verb: str) -> None:
    if options["html"] is not None:
        _write_page(report, options["html"], cassettes)
    if options["junit"] is None and options["markdown"] is None:
        return
    from replayproxy.cli.judging.comparison_reports import comparison_junit, comparison_markdown

    if options["junit"] is not None:
        output_files.write(options["junit"], comparison_junit(report, verb), "--junit", cassettes)
    if options["markdown"] is not None:
        output_files.write(options["markdown"], comparison_markdown(report).encode(), "--markdown", cassettes)


def _write_page(report: ComparisonReport, path: Path, cassettes: Sequence[Path]) -> None:
    from replayproxy.views.comparison_html import comparison_html

    style = (files("replayproxy.views.charts") / "charts.css").read_text("utf-8")
    output_files.write(path, comparison_html(report, style).encode(), "--html", cassettes)
    messages.info(f"{path}: written")


# Two exchanges


def _one_pair(first: Path, second: Path, ids: tuple[str, ...], rules: MatchRules | None, output: Output) -> int:
    from replayproxy.core.comparison.agreement_level import AgreementLevel, compare_answers
    from replayproxy.views.comparison import ComparedPair
    from replayproxy.views.pairing import PairedRow

    with opened((first, second), EVERYTHING) as (one, other):
        numbers = _numbers(one, other, ids, rules)
        rows = PairedRow.of(one.row(numbers[0])), PairedRow.of(other.row(numbers[1]))
        answers = compare_answers(one.response(numbers[0]), other.response(numbers[1]))
    pair = ComparedPair(*rows, answers)
    if output.is_for_people:
        from replayproxy.cli.terminal.comparison_page import one_pair_page

        with output.screen(first, second) as screen:
            one_pair_page(pair, screen)
    else:
        from replayproxy.views.comparison_fields import pair_fields

        output.value(pair_fields(pair), first, second)
    return 0 if answers.level >= AgreementLevel.TEXT else 5


def _numbers(
    first: CassetteBrowser, second: CassetteBrowser, ids: tuple[str, ...], rules: MatchRules | None
) -> tuple[int, int]:
    """The numbers of two exchanges: those of two ids, or of one id and its partner."""
    from replayproxy.views.exchange_id import resolve
    from replayproxy.views.joining import joined

    if len(ids) == 2:
        return resolve(first, ids[0]), resolve(second, ids[1])
    number = resolve(first, ids[0])
    for one, other in joined(first, second, EVERYTHING, rules).pairs:
        if one.number == number:
            return one.number, other.number
    raise SettingsError(
        f"{second.path} has no exchange with the request of {ids[0]}: give the id of another one after it"
    )
