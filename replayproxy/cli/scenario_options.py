"""The options of `drive --scenario`, and the run of a scenario with its artefacts: table, logs, CSV, JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replayproxy import output_files
from replayproxy.cli.drive_options import FILE, fields_of_options
from replayproxy.cli.options import F, plain_option
from replayproxy.views.units import moment

if TYPE_CHECKING:
    from replayproxy.scenario_run import ScenarioResult, ScenarioRun

NAMES = ("users", "unit", "prefix-cache", "chunked-prefill")

LABELS = ("dtype", "quantize", "tp_size")
"""Parameters of the server that the results name; they change nothing in a request."""


def scenario_options(function: F) -> F:
    """Which scenario, with which parameters."""
    options: tuple[Callable[[Any], Any], ...] = (
        plain_option("--scenario", type=click.Choice(NAMES), help="A ready test, which needs no CASSETTE."),
        plain_option("--model-id", help="Scenario: the model; default: the first that the server lists."),
        plain_option("--users", type=click.IntRange(1), default=4, help="Scenario users: how many ask at once."),
        plain_option("--batch", type=click.IntRange(1), default=1, help="Scenario unit: requests at once."),
        plain_option(
            "--input-length",
            type=click.IntRange(1),
            help="Scenario: tokens of a prompt; default: 128 for unit, 600 for chunked-prefill, 1000 for prefix-cache.",
        ),
        plain_option("--max-new-tokens", type=click.IntRange(1), help="Scenario: tokens of an answer."),
        plain_option(
            "--mode", type=click.Choice(["chat", "generate"]), default="chat", help="Scenario: chats or completions."
        ),
        plain_option("--dtype", default="", help="Scenario: a label in the results, as --quantize and --tp-size."),
        plain_option("--quantize", default="", help="Scenario: a label in the results."),
        plain_option("--tp-size", default="1", help="Scenario: a label in the results."),
        plain_option("--quality-check", is_flag=True, help="Scenario: exit code 5 for empty or garbled texts."),
        plain_option("--save-json", type=FILE, help="Scenario: write numbers and texts as JSON."),
        plain_option(
            "--logs", type=click.Path(path_type=Path, file_okay=False), help="Scenario: a folder for run_*.log."
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def scenario_of(options: Mapping[str, Any], run_id: str) -> ScenarioRun:
    """The scenario that the options describe."""
    from replayproxy.drive.scenario import ScenarioOptions
    from replayproxy.scenario_run import ScenarioRun

    default = 1024 if options["scenario"] == "unit" else 128
    return ScenarioRun(
        options=ScenarioOptions(
            name=options["scenario"],
            model=options["model_id"] or "",
            run=run_id,
            users=options["users"],
            batch=options["batch"],
            input_length=options["input_length"],
            max_new_tokens=options["max_new_tokens"] or default,
            mode=options["mode"],
        ),
        upstream=options["upstream"],
        fields=fields_of_options(options),
        output=options["output"],
        first_byte=options["upstream_timeout"],
        stall=options["stall_timeout"],
        grace=options["grace"],
        bound=round(options["max_lateness"] * 1e9),
    )


def scenario_fields(result: ScenarioResult, options: Mapping[str, Any]) -> dict[str, Any]:
    """Everything as data; times in seconds."""
    return {
        "scenario": options["scenario"],
        "model": result.model,
        "phases": [
            {
                "phase": phase.name,
                "ftl_s": phase.ftl,
                "tps": phase.tps,
                "total_tps": phase.total_tps,
                "requests": [
                    {
                        "name": user.name,
                        "ok": user.is_ok,
                        "reason": user.reason,
                        "ftl_s": user.ftl,
                        "tps": user.tps,
                        "total_s": user.total,
                        "prompt_tokens": user.prompt_tokens,
                        "output_tokens": user.output_tokens,
                        "cached_tokens": user.cached_tokens,
                        "longest_gap_s": user.longest_gap,
                        "stalls_at_s": user.stalls,
                        "quality": user.quality,
                        "text": user.text,
                    }
                    for user in phase.users
                ],
            }
            for phase in result.phases
        ],
        "hit_rate": None
        if result.hits is None
        else {
            "usage": result.hits.by_usage,
            "metrics": result.hits.by_metrics,
            "theoretical": result.hits.theoretical,
        },
        "stalled": [{"stream": name, "prefill": other} for name, other in result.stalled],
        "lengths_are_estimated": result.is_estimated,
    }


def refuse_files(options: Mapping[str, Any]) -> None:
    """Raise `SettingsError` before anything is sent where a result could not be written."""
    output_files.refuse_all(
        [("--save-results", options["save_results"]), ("--save-json", options["save_json"])],
        [options["output"]] if options["output"] is not None else [],
    )


def write_artefacts(result: ScenarioResult, options: Mapping[str, Any]) -> None:
    """A row per phase onto the CSV, which other runs have begun; the JSON; a log per request."""
    import orjson

    if options["save_results"] is not None:
        _append_rows(options["save_results"], result, options)
    if options["save_json"] is not None:
        document = orjson.dumps(scenario_fields(result, options), option=orjson.OPT_INDENT_2)
        output_files.write(options["save_json"], document + b"\n", "--save-json")
    if options["logs"] is not None:
        options["logs"].mkdir(parents=True, exist_ok=True)
        for user in result.phases[-1].users:
            usage = f"FTL {user.ftl} s, TPS {user.tps}, prompt {user.prompt_tokens}, output {user.output_tokens}"
            text = f"{usage}{', ' + user.reason if user.reason else ''}\n\n{user.text}\n"
            output_files.write(options["logs"] / f"{user.name}.log", text.encode("utf-8", "replace"), "--logs")


def _append_rows(path: Path, result: ScenarioResult, options: Mapping[str, Any]) -> None:
    from replayproxy.drive.scenario_results import csv_row

    parameters = scenario_of(options, "").options
    labels = {
        "model": result.model,
        "dtype": options["dtype"],
        "quantize": options["quantize"],
        "batch": len(result.phases[-1].users),
        "input_length": parameters.prompt_tokens,
        "max_new_tokens": parameters.max_new_tokens,
        "tp_size": options["tp_size"],
        "mode": options["mode"],
    }
    rows = [csv_row(phase, labels, moment(phase.started_at)) for phase in result.phases]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    if not path.exists() or not path.stat().st_size:
        writer.writeheader()
    writer.writerows(rows)
    output_files.append(path, text.getvalue().encode(), "--save-results")
