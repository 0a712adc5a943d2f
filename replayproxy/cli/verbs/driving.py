"""`drive`: parse options, plan, send recorded requests at a live server, print what became of them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from replayproxy import output_files
from replayproxy.cli.against_options import against_options, interleaved, servers_of
from replayproxy.cli.drive_options import FILE, arrival_options, change_options, fields_of_options, safety_options
from replayproxy.cli.filtering import choosing
from replayproxy.cli.options import plain_option
from replayproxy.cli.scenario_options import (
    refuse_files,
    scenario_fields,
    scenario_of,
    scenario_options,
    write_artefacts,
)
from replayproxy.cli.terminal import messages
from replayproxy.errors import SettingsError
from replayproxy.views.port import ExchangeFilter
from replayproxy.views.units import count, plural

if TYPE_CHECKING:
    from replayproxy.drive.changes import RequestChanges
    from replayproxy.drive.driver import Driver
    from replayproxy.drive.plan import DrivePlan, PlanOptions
    from replayproxy.drive.recorded import RecordedTurn
    from replayproxy.load_run import LoadResult, LoadRun, Stopping

T = TypeVar("T")


@click.command
@click.argument("cassette", type=FILE, required=False)
@plain_option("--upstream", metavar="URL", help="The live server.")
@plain_option("-o", "--output", type=FILE, help="Record the answers onto this new cassette.")
@arrival_options
@change_options
@safety_options
@scenario_options
@against_options
@choosing
def drive(cassette: Path | None, *, chosen: ExchangeFilter, **options: Any) -> int:
    """Send the requests on CASSETTE at a live server when they were sent, session by session, and record the answers.

    Requests are sent at their recorded times, whether or not earlier ones are answered; a later turn of a conversation
    waits for the turn before. `compare CASSETTE NEW` then judges the server. Exit code 1: requests failed that had not
    failed when they were recorded; 7: no request was answered; 9: some were not sent, or the driver was late.

    \b
    Examples:
      replayproxy drive prod.cassette --upstream http://127.0.0.1:8000 --dry-run
      replayproxy drive prod.cassette --upstream http://127.0.0.1:8000 \\
        -o candidate.cassette
      replayproxy compare prod.cassette candidate.cassette --gate 'ttft <= 1.10'
      replayproxy drive prod.cassette --against http://127.0.0.1:8000 \\
        --against http://127.0.0.1:8001 --repeat 5 -o runs --gate 'ttft <= 1.10'
      replayproxy drive --scenario unit --upstream http://127.0.0.1:8000 --batch 4
    """
    from replayproxy.load_run import is_loopback, refuse_existing

    if (cassette is None) == (options["scenario"] is None):
        raise click.UsageError("give a CASSETTE, or --scenario users, unit, prefix-cache or chunked-prefill")
    servers = servers_of(options)
    local = all(map(is_loopback, servers))
    output: Path | None = options["output"]
    if output is not None and len(servers) == 1:
        refuse_existing(output, cassette)
    if cassette is None:
        return _scenario(options, local=local)
    if options["save_results"] is not None:
        output_files.refuse(options["save_results"], "--save-results", [cassette])
    turns, notes = _turns(cassette, chosen)
    plan = _plan(turns, options)
    changes = _changes(options)
    notes += _notes(turns, options)
    if options["dry_run"]:
        return _print_plan(plan, notes, options)
    if not local and not options["yes"]:
        raise SettingsError(
            f"{' or '.join(servers)} is not on this machine: look at the plan with --dry-run, then send"
            f" {plural(len(plan.requests), 'request')} with --yes"
        )
    run = _run(cassette, plan, changes, {**options, "upstream": servers[0]})
    if len(servers) > 1:
        return interleaved(run, servers, options, driven)
    result = driven(run, "")
    return _conclude(result, options, [cassette])


# The plan


def _turns(cassette: Path, chosen: ExchangeFilter) -> tuple[list[RecordedTurn], list[str]]:
    from replayproxy.cli.terminal.progress import progress
    from replayproxy.load_run import read_turns

    with progress() as watch:
        turns, skipped = read_turns(cassette, chosen, watch)
    if not turns:
        where = "" if chosen.is_everything else " that meets --where, --since and --until"
        raise SettingsError(f"{cassette} has no request{where} that can be sent: record some, or choose others")
    notes = [f"{count(skipped)} left out: their requests were not recorded to the end"] if skipped else []
    return turns, notes


def _plan(turns: Sequence[RecordedTurn], options: Mapping[str, Any]) -> DrivePlan:
    from replayproxy.drive.plan import plan_of

    return plan_of(turns, _plan_options(options))


def _plan_options(options: Mapping[str, Any]) -> PlanOptions:
    from replayproxy.drive.arrivals import ArrivalProcess, shape_of
    from replayproxy.drive.plan import PlanOptions

    ramp = options["ramp_up"]
    process = None
    if options["rate"] is not None:
        process = ArrivalProcess(options["rate"], shape_of(options["arrivals"]), ramp, options["ramp_from"])
    elif ramp and options["concurrency"] is None:
        raise click.UsageError("--ramp-up is for --rate or --concurrency: give one of them")
    return PlanOptions(
        speed=options["speed"],
        process=process,
        concurrency=options["concurrency"],
        ramp=ramp,
        turns=options["turns"],
        think_speed=options["think_speed"],
        loops=options["loops"],
        copies=options["copies"],
        copy_offset=options["copy_offset"],
        max_idle_gap=options["max_idle_gap"],
        seed=options["seed"],
    )


def _changes(options: Mapping[str, Any]) -> RequestChanges:
    from replayproxy.drive.changes import RequestChanges, field_of, models_of
    from replayproxy.net.clock import ThreadClock

    run = options["run_id"]
    if run is None:
        run = f"{ThreadClock.today() // 1_000_000_000:x}"
    elif not run.isascii() or not run.replace("-", "").replace("_", "").isalnum():
        raise click.UsageError("--run-id is part of a header field: use letters, digits, - and _")
    return RequestChanges(
        run=run,
        models=models_of(options["models"]),
        fields=tuple(map(field_of, options["sets"])),
        force_length=options["max_tokens_from_recording"],
        salt=options["salt"],
    )


def _notes(turns: Sequence[RecordedTurn], options: Mapping[str, Any]) -> list[str]:
    """What a plan cannot do as it is asked. Raises `SettingsError` where that would make the run worthless."""
    notes = []
    if options["max_tokens_from_recording"]:
        constrained = [turn for turn in turns if turn.constraint is not None]
        uncounted = sum(turn.output_tokens is None for turn in turns)
        if constrained and not options["allow_unforced"]:
            first = constrained[0]
            raise SettingsError(
                f"--max-tokens-from-recording: {plural(len(constrained), 'request')} (the first is {first.id}) may"
                f" generate some tokens only ({first.constraint}), and at the end of what that allows a server has no"
                " token left but the one that ignore_eos forbids. Leave them out with --where, or send them as they"
                " are with --allow-unforced"
            )
        if constrained:
            notes.append(f"{count(len(constrained))} are sent without a forced length: they allow some tokens only")
        if uncounted:
            notes.append(f"{count(uncounted)} are sent without a forced length: their answers state no token count")
    return notes


def _print_plan(plan: DrivePlan, notes: list[str], options: Mapping[str, Any]) -> int:
    from replayproxy.cli.terminal.output import Form, Output

    if options["as_json"]:
        took, most = plan.expected()
        document = {
            "requests": len(plan.requests),
            "sessions": plan.sessions,
            "expected_s": took / 1e9,
            "most_in_flight": most,
            "prompt_tokens": sum(one.turn.prompt_tokens or 0 for one in plan.requests),
            "output_tokens": sum(one.turn.output_tokens or 0 for one in plan.requests),
            "notes": notes,
        }
        Output(Form.JSON).value(document)
        return 0
    from replayproxy.cli.terminal.drive_page import plan_page

    with Output().screen() as screen:
        plan_page(plan, notes, " and ".join(servers_of(options)), screen)
    return 0


# The run


def _run(cassette: Path, plan: DrivePlan, changes: RequestChanges, options: Mapping[str, Any]) -> LoadRun:
    from replayproxy.drive.driver import DriveLimits
    from replayproxy.load_run import LoadRun

    limits = DriveLimits(
        max_in_flight=options["max_in_flight"],
        drop_late=None if options["drop_late"] is None else round(options["drop_late"] * 1e9),
        budget_requests=options["budget_requests"],
        budget_tokens=options["budget_tokens"],
        cancels=not options["no_cancel"],
        live_history=options["history"] == "live",
    )
    return LoadRun(
        cassette=cassette,
        upstream=options["upstream"],
        plan=plan,
        changes=changes,
        output=options["output"],
        limits=limits,
        fields=fields_of_options(options),
        first_byte=options["upstream_timeout"],
        stall=options["stall_timeout"],
        wait_upstream=options["wait_upstream"],
        grace=options["grace"],
        bound=round(options["max_lateness"] * 1e9),
        notes={"drive": {"source": cassette.name, "run": changes.run, "speed": options["speed"]}},
    )


def driven(run: LoadRun, title: str) -> LoadResult:
    """Carry out a run, and show it."""
    from replayproxy.load_run import drive

    def carry_out(stopping: Stopping, show: Callable[[str, int, Driver], None]) -> Coroutine[Any, Any, LoadResult]:
        return drive(run, stopping, lambda driver: show(title, len(run.plan.requests), driver))

    return watched(carry_out, run.grace)


def watched(
    carry_out: Callable[[Stopping, Callable[[str, int, Driver], None]], Coroutine[Any, Any, T]], grace: float
) -> T:
    """Carry out runs, and show them; the first Ctrl-C sends nothing more, a second one does not wait."""
    import asyncio

    from replayproxy import lifetime
    from replayproxy.cli.terminal.drive_page import drive_display
    from replayproxy.load_run import Stopping
    from replayproxy.net.clock import SystemClock

    async def carried_out() -> T:
        stopping = Stopping()

        def stop(number: int) -> None:
            if not stopping.first.is_set():
                messages.info(f"stopping: what is in flight has {grace:g} s; once more ends it at once")
            stopping.receive(number)

        lifetime.listen_for_signals(stop)
        lifetime.own_process()
        shown: list[tuple[str, int, Driver]] = []
        driving = asyncio.create_task(carry_out(stopping, lambda *what: shown.append(what)))
        with drive_display(SystemClock.now) as display:
            while not driving.done():
                await asyncio.wait((driving,), timeout=0.25)
                if shown:
                    title, planned, driver = shown[-1]
                    display.update(driver, planned, title)
        return await driving

    return lifetime.on_loop(carried_out())


def _scenario(options: Mapping[str, Any], *, local: bool) -> int:
    """Run a scenario, print it, write its artefacts."""
    from replayproxy.cli.terminal.output import Form, Output
    from replayproxy.cli.terminal.scenario_page import scenario_page
    from replayproxy.scenario_run import ScenarioResult, run_scenario, scenario_codes

    refuse_files(options)
    run = scenario_of(options, _changes(options).run)
    if options["dry_run"]:
        messages.info(f"scenario {run.options.name}: nothing is sent with --dry-run")
        return 0
    if not local and not options["yes"]:
        raise SettingsError(f"{options['upstream']} is not on this machine: send the scenario to it with --yes")

    def carry_out(stopping: Stopping, show: Callable[[str, int, Driver], None]) -> Coroutine[Any, Any, ScenarioResult]:
        return run_scenario(run, stopping, lambda name, planned, driver: show(f"{name}: ", planned, driver))

    result = watched(carry_out, run.grace)
    verdict = scenario_codes(result, checks_quality=options["quality_check"])
    write_artefacts(result, options)
    if options["as_json"]:
        Output(Form.JSON).value({**scenario_fields(result, options), "exit_code": verdict[0], "verdict": verdict[1]})
    else:
        with Output().screen() as screen:
            scenario_page(result, verdict, screen, checks_quality=options["quality_check"])
    return verdict[0]


def _conclude(result: LoadResult, options: Mapping[str, Any], inputs: Sequence[Path]) -> int:
    from replayproxy.cli.terminal.output import Form, Output
    from replayproxy.drive.results import summary_fields

    if options["save_results"] is not None:
        _save(options["save_results"], result, inputs)
    if options["as_json"]:
        Output(Form.JSON).value(summary_fields(result.summary))
    else:
        from replayproxy.cli.terminal.drive_page import result_page

        with Output().screen() as screen:
            result_page(result.summary, screen)
    if options["output"] is not None:
        messages.info(f"recorded onto {options['output']}")
    return result.summary.verdict[0]


def _save(path: Path, result: LoadResult, inputs: Sequence[Path]) -> None:
    """A row per request."""
    from replayproxy.cli.terminal.output import Form, Output

    rows = [one.fields() for one in result.requests]
    form = Form.NL if path.suffix in (".jsonl", ".ndjson") else Form.CSV
    Output(form, path=path).rows(list(rows[0]), rows, *inputs)
