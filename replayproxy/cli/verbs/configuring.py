"""`config`: check the file of `--config` before a process depends on it, and write an example with every key."""

from __future__ import annotations

from pathlib import Path

import click

from replayproxy.cli.options import plain_option
from replayproxy.cli.subcommands import Subcommands
from replayproxy.cli.terminal import messages
from replayproxy.cli.terminal.screen import on_stdout
from replayproxy.views.units import plural


@click.group(cls=Subcommands)
def config() -> None:
    """Check a configuration file, or write an example of one.

    \b
    Examples:
      replayproxy config check replayproxy.yaml
      replayproxy config example record > replayproxy.yaml
    """


@config.command
@click.argument("file", type=click.Path(path_type=Path), required=False)
def check(file: Path | None) -> int:
    """Check FILE, or the file of --config: every section, key and value, and whether the values fit together.

    Nothing is started and no connection is opened. Each mistake is one line. Exit code 2: there is one.

    \b
    Example:
      replayproxy config check replayproxy.yaml
    """
    from replayproxy.cli.config_check import checked

    root = click.get_current_context().find_root()
    path = file or root.params.get("config")
    if path is None:
        raise click.UsageError("give the file: replayproxy config check FILE")
    assert isinstance(root.command, click.Group)
    found = checked(root.command, path)
    for mistake in found.mistakes:
        messages.error(f"{path}: {mistake}", exit_code=2)
    if found.mistakes:
        return 2
    counted = ", ".join(f"{name} ({plural(count, 'key')})" for name, count in found.sections.items())
    on_stdout().line(f"{path} is right: {counted or 'it sets nothing'}")
    return 0


@config.command
@click.argument("verb", nargs=-1)
@plain_option("-o", "--output", "output", type=click.Path(path_type=Path), help="Write to this file, not to stdout.")
def example(verb: tuple[str, ...], output: Path | None) -> None:
    """Print a file with every key of VERB, its meaning and its default; without VERB: of those that serve.

    All keys are comments: what is not changed keeps its default.

    \b
    Example:
      replayproxy config example record replay > replayproxy.yaml
    """
    from replayproxy import output_files
    from replayproxy.cli.config_example import SERVING, example_of

    root = click.get_current_context().find_root().command
    assert isinstance(root, click.Group)
    text = example_of(root, verb or SERVING)
    if output is None or str(output) == "-":
        on_stdout().text(text)
    else:
        output_files.write(output, text.encode(), "-o")
