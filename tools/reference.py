"""Writes the command-line reference, docs/cli.md, from the click commands, the keywords of Python (`keywords`) and
the table of formats (`format_table`).

    python -m tools.reference            writes them
    python -m tools.reference --check    exits with 1 if one of them is not what would be written

Every word of a verb, an option and an example comes from `--help`. Knows click and Markdown; nothing of what an option
does.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import click

from replayproxy.cli.config_example import SERVING, example_of
from replayproxy.cli.main import commands, replayproxy
from replayproxy.cli.option_sections import sections
from tools import format_table, keywords, peer_table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "cli.md"
EXAMPLE = ROOT / "examples" / "replayproxy.yaml"

HEAD = """\
# CLI reference

This page is generated from the program by `make reference`. Do not edit it.

`replayproxy VERB --help` prints the same text. [Operation](operation.md#options) describes how options, environment
variables and the configuration file work together, and [CI](ci.md#exit-codes) explains the exit codes. The name in
the last line of a meaning is that of the environment variable.
"""


def reference() -> str:
    """The whole page."""
    verbs = [verb for verb in commands() if not verb.hidden]
    index = "\n".join(f"| [`{verb.name}`](#{verb.name}) | {_cell(verb.get_short_help_str(200))} |" for verb in verbs)
    shared = _options(replayproxy)
    head = [HEAD, "| verb | does |\n|---|---|", f"{index}\n", "## Options of the program\n", shared]
    return "\n".join([*head, *map(_verb, verbs)])


def configuration() -> str:
    """The example of a configuration file, with every key of the verbs that serve."""
    assert isinstance(replayproxy, click.Group)
    return example_of(replayproxy, SERVING)


def _verb(verb: click.Command, parent: str = "") -> str:
    context = click.Context(verb, info_name=f"replayproxy {verb.name}")
    usage = " ".join(verb.collect_usage_pieces(context))
    paragraphs = inspect.cleandoc(verb.help or "").replace("\b\n", "").split("\n\n")
    text = "\n\n".join(_text(" ".join(paragraph.split())) for paragraph in paragraphs)
    path = f"{parent}{verb.name}"
    parts = [f"{'###' if parent else '##'} {path}\n", f"```text\nreplayproxy {path} {usage}\n```\n", f"{text}\n"]
    if not isinstance(verb, click.Group):
        parts.append(_options(verb))
    if example := inspect.cleandoc((verb.epilog or "").replace("\b\n", "")):
        title, _, lines = example.partition("\n")
        parts += [f"{title}\n", f"```sh\n{inspect.cleandoc(lines)}\n```\n"]
    if isinstance(verb, click.Group):
        parts += [_verb(one, f"{verb.name} ") for one in verb.commands.values()]
    return "\n".join(parts)


def _options(command: click.Command) -> str:
    context = click.Context(command, info_name=command.name)
    rows: list[str] = []
    titles: set[str] = set()
    found = sections(command.get_params(context))
    for title, parameter in ((title, one) for title, several in found.items() for one in several):
        record = parameter.get_help_record(context)
        if not isinstance(parameter, click.Option) or record is None or "--help" in parameter.opts:
            continue
        if len(found) > 1 and title not in titles:
            titles.add(title)
            rows.append(f"| **{title}** | |")
        flags, meaning = record
        more = ""
        if isinstance(parameter.type, click.Choice):
            flags = flags.partition(" [")[0]
            more = f" One of {', '.join(f'`{choice}`' for choice in parameter.type.choices)}."
        if isinstance(parameter.envvar, str):
            more += f"<br>`{parameter.envvar}`"
        rows.append(f"| `{flags.replace('|', ' or ')}` | {_cell(meaning)}{more} |")
    return "\n".join(["| option | meaning |", "|---|---|", *rows]) + "\n"


def _cell(text: str) -> str:
    """Text of a table's cell."""
    return _text(" ".join(text.split())).replace("|", "\\|")


def _text(text: str) -> str:
    """Text in which Markdown finds nothing but code: flags, variables, paths and placeholders in capitals."""
    text = re.sub(r"([*_\\])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    return re.sub(r"(?<![\w/`-])(--[a-z][a-z-]*[a-z])", r"`\1`", text)


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    page, example = reference(), configuration()
    if "--check" in arguments:
        files = (EXAMPLE, PAGE, keywords.FILE, format_table.FILE, peer_table.FILE)
        written = tuple(file.read_text("utf-8") for file in files)
        if written == (example, page, keywords.keywords(), format_table.page(), peer_table.page()):
            return 0
        print(
            "examples/replayproxy.yaml, docs/cli.md, docs/formats.md, docs/simulator.md or api/keywords.py is not what"
            " the program says: run `make reference`",
            file=sys.stderr,
        )
        return 1
    EXAMPLE.write_text(example, "utf-8")
    PAGE.write_text(page, "utf-8")
    keywords.FILE.write_text(keywords.keywords(), "utf-8")
    format_table.FILE.write_text(format_table.page(), "utf-8")
    peer_table.FILE.write_text(peer_table.page(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
