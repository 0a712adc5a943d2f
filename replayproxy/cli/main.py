"""The group of all verbs, and how errors become sentences and exit codes."""

from __future__ import annotations

import inspect
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import click

from replayproxy import __version__
from replayproxy.cli.options import PREFIX, load_config, plain_option, refuse_unknown_variables, suggestion
from replayproxy.cli.printing import messages
from replayproxy.core.visible import visible_lines
from replayproxy.errors import CassetteError, ReplayProxyError, SettingsError

LOG_FORMAT = PREFIX + "LOG_FORMAT"


class Context(click.Context):
    """click's, whose help and usage show no control character: a default may come from somebody's config file."""

    def get_help(self) -> str:
        """What --help prints."""
        return visible_lines(super().get_help())

    def get_usage(self) -> str:
        """The line above an error."""
        return visible_lines(super().get_usage())


class Verbs(click.Group):
    """Lists verbs in the order of a user's life, and suggests the nearest for an unknown one."""

    context_class = Context

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            near = suggestion(args[0], self.commands) or ": `replayproxy --help` lists them"
            raise click.UsageError(f"there is no verb {args[0]!r}{near}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@plain_option(
    "-c", "--config", type=click.Path(path_type=Path), envvar="REPLAYPROXY_CONFIG", help="YAML, one section a verb."
)
@click.version_option(__version__, "-V", "--version", prog_name="replayproxy")
@click.pass_context
def replayproxy(ctx: click.Context, config: Path | None) -> None:
    """Record and replay LLM servers: the same bytes, the same chunk boundaries, the same beat.

    \b
    Examples:
      replayproxy demo
      replayproxy record chat.cassette --upstream http://127.0.0.1:8000
      replayproxy replay chat.cassette --speed 1
    """
    group = ctx.command
    assert isinstance(group, click.Group)
    refuse_unknown_variables(group)
    if config is not None:
        ctx.default_map = dict(load_config(group, config))
        section = ctx.default_map.get(ctx.invoked_subcommand or "", {})
        if LOG_FORMAT not in os.environ and section.get("log_format") in messages.FORMATS:
            messages.use(section["log_format"])


def commands() -> list[click.Command]:
    """All verbs, in the order of a user's life."""
    from replayproxy.cli import checking, controlling, demo, executing, keeping, pruning, redacting, serving
    from replayproxy.cli.reading import verbs as reading

    verbs = [
        *serving.COMMANDS,
        *executing.COMMANDS,
        *controlling.COMMANDS,
        *reading.COMMANDS,
        *checking.COMMANDS,
        *keeping.COMMANDS,
        *pruning.COMMANDS,
        *redacting.COMMANDS,
        *demo.COMMANDS,
    ]
    return [_with_example_last(verb) for verb in verbs]


def _with_example_last(verb: click.Command) -> click.Command:
    """A docstring's example, below the options: the last thing one reads is what one pastes."""
    verb.context_class = Context
    text, mark, example = inspect.cleandoc(verb.help or "").partition("\b\nExample")
    if mark:
        verb.help, verb.epilog = text.rstrip(), mark + example
    return verb


def main(arguments: list[str] | None = None) -> None:
    """The console script."""
    for command in commands():
        replayproxy.add_command(command)
    with messages.speaking(_form(sys.argv[1:] if arguments is None else arguments)):
        code = _run(arguments)
    for stream in (sys.stdout, sys.stderr):
        _let_go(stream)
    sys.exit(code)


def _let_go(stream: TextIO) -> None:
    """Where nobody reads any more, the interpreter would make 120 of every exit code (`signal`, note on SIGPIPE)."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _form(words: Sequence[str]) -> str:
    """How to speak before it is known whether the words make sense: as they ask for, where their verb has formats."""
    verb = next((replayproxy.commands[word] for word in words if word in replayproxy.commands), None)
    if verb is None or all(parameter.name != "log_format" for parameter in verb.params):
        return "text"
    return messages.form_asked_for(words, os.environ.get(LOG_FORMAT))


def _run(arguments: list[str] | None) -> int:
    try:
        code: Any = replayproxy.main(args=arguments, prog_name="replayproxy", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        messages.usage_error(error)
        return error.exit_code
    except CassetteError as error:
        return _say(error, error.exit_code)
    except SettingsError as error:
        return _say(error, 2)
    except ReplayProxyError as error:
        return _say(error, 1)
    except Exception:
        logging.getLogger(messages.NAME).critical("an internal error: please report this", exc_info=True)
        return 1


def _say(error: ReplayProxyError, code: int) -> int:
    messages.error(str(error), exit_code=code)
    return code
