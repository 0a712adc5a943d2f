"""`calibrate`: find the match rules under which a program asks the same in every run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replayproxy import output_files
from replayproxy.cli.filtering import opened
from replayproxy.cli.options import plain_option
from replayproxy.cli.setting_options import setting_options
from replayproxy.cli.terminal import messages
from replayproxy.cli.terminal.output import Form, Output, output_family
from replayproxy.cli.terminal.screen import on_stderr
from replayproxy.errors import ReplayProxyError, SettingsError
from replayproxy.views.port import EVERYTHING

if TYPE_CHECKING:
    from replayproxy.cassette.browse import CassetteBrowser
    from replayproxy.core.identity.calibration import Calibration, MissedPlace
    from replayproxy.core.identity.rules import MatchRules
    from replayproxy.core.identity.run_alignment import RunStep

FILE = click.Path(path_type=Path)

MOST_REPORT = 256 * 1024 * 1024
"""Bytes of a report that are read."""


class MayWrap(click.Command):
    """A verb that may take a command after `--`, and gets it as `command`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Ours before the first `--`, the command's after it."""
        split = args.index("--") if "--" in args else len(args)
        rest = super().parse_args(ctx, args[:split])
        ctx.params["command"] = tuple(args[split + 1 :])
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """With the command."""
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND...]"]


@click.command(cls=MayWrap)
@click.argument("cassette", type=FILE)
@click.argument("second", type=FILE, required=False)
@plain_option("--upstream", metavar="URL", help="The live server that COMMAND is recorded with.")
@plain_option("--misses", type=FILE, help="Look at the misses in this report of a run, in place of a second run.")
@plain_option("--by-name", is_flag=True, help="Prefer uuid, date and the like where they keep as much apart.")
@plain_option("--write", type=FILE, help="Add the rules to this file of --config.")
@setting_options("calibrate", "match")
@output_family
def calibrate(cassette: Path, second: Path | None, *, command: tuple[str, ...], output: Output, **options: Any) -> int:
    """Compare two runs of one program, find what varies from run to run, and propose match rules.

    With --upstream and COMMAND, the program is run twice: the first run is recorded to CASSETTE, or is the one that is
    there already. Else CASSETTE and SECOND are two recordings of it. Each rule is as narrow as the runs allow, shown
    with its evidence, and checked: no request that both runs asked equally may fall together with another one. Exit
    code 5: something varies that no narrow rule explains, or a rule is unsafe; 9: there was nothing to compare.

    \b
    Examples:
      replayproxy calibrate agent.cassette --upstream http://127.0.0.1:8000 \\
        -- python agent.py
      replayproxy calibrate monday.cassette tuesday.cassette --write replay.yaml
      replayproxy calibrate agent.cassette --misses run.json
    """
    from replayproxy.api.options import match_rules

    if output.form in (Form.CSV, Form.TSV, Form.NL):
        raise click.UsageError("calibrate is one result, not rows: use --json")
    _refuse_two_sources(second, command, options)
    rules = match_rules(options)
    if options["write"] is not None:
        output_files.refuse(options["write"], "--write", [path for path in (cassette, second) if path])
    if options["misses"] is not None:
        found = _of_misses(cassette, options["misses"], rules)
    else:
        with ExitStack() as stack:
            if command:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="replayproxy-")))
                second = _record_runs(cassette, folder, options, command)
            found = _of_runs(cassette, second or cassette, rules, by_name=options["by_name"])
    _print(found, output, cassette)
    if options["write"] is not None and found.proposals:
        _write(found, options["write"])
    return _code(found)


def _code(found: Calibration) -> int:
    if not all(found.requests):
        return 9
    return 0 if found.after == found.requests[1] and found.is_safe else 5


def _refuse_two_sources(second: Path | None, command: tuple[str, ...], options: dict[str, Any]) -> None:
    given = [
        name
        for name, there in (("SECOND", second), ("--misses", options["misses"]), ("a command after --", command))
        if there
    ]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)}: give one of them")
    if not given:
        raise click.UsageError(
            "there is nothing to compare CASSETTE with: give a second cassette, --misses REPORT,"
            " or --upstream URL and a command after --"
        )
    if bool(command) != bool(options["upstream"]):
        raise click.UsageError("--upstream URL and a command after -- belong together: give both")


# Two runs


def _of_runs(first: Path, second: Path, rules: MatchRules | None, *, by_name: bool) -> Calibration:
    from replayproxy.core.identity.calibration import calibrate as find_rules

    with opened((first, second), EVERYTHING) as browsers:
        base = rules or browsers[0].rules
        runs = [list(_steps(browser)) for browser in browsers]
    return find_rules(runs[0], runs[1], base, by_name=by_name)


def _steps(browser: CassetteBrowser) -> Iterator[RunStep]:
    from replayproxy.core.comparison.content import texts_by_name
    from replayproxy.core.identity.run_alignment import RunStep
    from replayproxy.views.joining import without_masks

    for row in browser.rows(EVERYTHING):
        if row["state"] == "done" and not row["request_cut"]:
            number = row["number"]
            yield RunStep(without_masks(browser.request(number)), texts_by_name(browser.response(number)))


def _record_runs(cassette: Path, folder: Path, options: dict[str, Any], command: tuple[str, ...]) -> Path:
    """Record the first run, unless it is there, and the second one. Returns the cassette of the second."""
    second = folder / "second.cassette"
    for name, path in (("first", cassette), ("second", second)):
        if path.exists():
            messages.info(f"{path} is there: it is the {name} run")
            continue
        messages.info(f"{name} run: {command[0]}")
        _record(path, options, command)
    return second


def _record(path: Path, options: dict[str, Any], command: Sequence[str]) -> None:
    from replayproxy.api.options import settings_of
    from replayproxy.cli.command_run import CommandRun
    from replayproxy.core.no_proxy import LOCAL
    from replayproxy.core.policy import Mode

    given = {name: value for name, value in options.items() if name.startswith("match") and name != "match_from"}
    given |= {"upstream": options["upstream"], "host": LOCAL[0], "port": 0, "admin_port": None}
    settings = settings_of(Mode.RECORD, (path,), given)
    with CommandRun(settings, tuple(command), 30.0) as run:
        _, ended = run.to_its_end()
    if ended.code:
        raise ReplayProxyError(f"{ended.sentence}: a run that fails is not compared; mend it, or compare two cassettes")


# The misses of a run


def _of_misses(cassette: Path, report: Path, rules: MatchRules | None) -> Calibration:
    from replayproxy.core.identity.calibration import Calibration, Unexplained, merged, rules_for

    places = _places(report)
    with opened((cassette,), EVERYTHING) as (browser,):
        base = rules or browser.rules
        requests = [step.request for step in _steps(browser)]
    found, proposals = rules_for([place for places_of_one in places for place in places_of_one], base)
    left = [number for number, places_of_one in enumerate(places) if not places_of_one]
    return Calibration(
        requests=(len(requests), len(places)),
        before=0,
        after=len(places) - len(left),
        rules=found,
        proposals=proposals,
        unexplained=tuple(Unexplained(number, None, ()) for number in left),
        merged=tuple(merged(requests, (), base, found)),
    )


def _places(report: Path) -> list[list[MissedPlace]]:
    """For each miss where it differs from the nearest recording."""
    import orjson

    from replayproxy.core.identity.calibration import MissedPlace

    try:
        if report.stat().st_size > MOST_REPORT:
            raise SettingsError(f"--misses {report} is larger than any report: name the file of --report")
        document = orjson.loads(report.read_bytes())
        misses = document["misses"] if "misses" in document else document["result"]["misses"]
        return [
            [
                MissedPlace(str(place["path"]), str(place["recorded"]), str(place["received"]), place.get("looks_like"))
                for place in (miss.get("nearest") or {}).get("differences", ())
            ]
            for miss in misses
        ]
    except OSError as error:
        raise SettingsError(f"--misses {report} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SettingsError(f"--misses {report} is not the report of a run: name the file of --report") from error


# The result


def _print(found: Calibration, output: Output, cassette: Path) -> None:
    if output.is_for_people:
        from replayproxy.cli.terminal.calibration_page import calibration_page

        with output.screen(cassette) as screen:
            calibration_page(found, screen)
        return
    from replayproxy.views.calibration_fields import calibration_fields

    output.value(calibration_fields(found), cassette)


def _write(found: Calibration, path: Path) -> None:
    from replayproxy.cli.config_rules import write_rules
    from replayproxy.views.calibration_fields import rules_by_key

    sections = write_rules(path, rules_by_key(found.proposals))
    on_stderr().line(f"{path}: rules written for {', '.join(sections)}; use it with --config {path}")
