"""Sections in the `--help` of a verb that has many options, one per group of the table of settings.

Knows the names of the groups; nothing of what an option does.
"""

from __future__ import annotations

import click

TITLES = {
    "server": "Live server",
    "timeouts": "Live server",
    "pair": "Prefill/decode pair",
    "record": "Recording",
    "files": "Files",
    "miss": "Playing",
    "end": "Playing",
    "pace": "Playing",
    "match": "Which requests are equal",
    "redact": "Secrets",
    "fail": "Faults",
    "simulate": "Simulator",
    "answers": "Simulator: answers",
    "latency": "Simulator: times",
    "state": "Simulator: state",
    "judge": "Result",
    "listen": "Ports and clients",
    "log": "Messages",
    "process": "Process",
}
"""By group. Groups with one title are one section, where the first of them stands."""

REST = "Options"
"""What is in no group."""


def section_of(parameter: click.Parameter) -> str:
    """The title of the section in which an option stands."""
    return TITLES.get(getattr(parameter, "group", ""), REST)


def sections(parameters: list[click.Parameter]) -> dict[str, list[click.Parameter]]:
    """Options by the title of their section, in the order in which sections begin; the rest is last."""
    found: dict[str, list[click.Parameter]] = {}
    for parameter in parameters:
        found.setdefault(section_of(parameter), []).append(parameter)
    if REST in found:
        found[REST] = found.pop(REST)
    return found


class SectionedCommand(click.Command):
    """A verb whose options stand in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group."""
        for title, parameters in sections(self.get_params(ctx)).items():
            records = [record for one in parameters if (record := one.get_help_record(ctx)) is not None]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
