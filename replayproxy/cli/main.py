"""The group of all verbs, and how errors become sentences and exit codes."""

from __future__ import annotations

import inspect
import logging
import os
import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import click
from click.core import ParameterSource

from replayproxy import __version__
from replayproxy.cli.options import PREFIX, plain_option, refuse_unknown_variables, suggestion
from replayproxy.cli.terminal import messages
from replayproxy.core.visible import visible_lines
from replayproxy.errors import CassetteError, ReplayProxyError, SettingsError, as_flag

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

LOG_FORMAT = PREFIX + "LOG_FORMAT"


class Verb(NamedTuple):
    """Where a verb is defined, and its line in the list of verbs."""

    module: str
    function: str
    short_help: str


VERBS = {
    "record": Verb("serving", "record", "Forward to a live server and record."),
    "replay": Verb("serving", "replay", "Answer from recordings."),
    "auto": Verb("serving", "auto", "Answer from recordings, and record what is missing."),
    "simulate": Verb("serving", "simulate", "Answer like a vLLM, without recording and server."),
    "exec": Verb("executing", "exec_", "Run a command against recordings, and judge the run."),
    "wait": Verb("controlling", "wait", "Wait until a server answers."),
    "ctl": Verb("controlling", "ctl", "Control a running proxy: status, misses, report, reset, rotate, keep."),
    "ls": Verb("reading", "ls", "List recordings, the newest last."),
    "show": Verb("reading", "show", "Show one exchange with its timeline."),
    "stats": Verb("measuring", "stats", "Percentiles of TTFT, chunk gap, TPOT and total time."),
    "diff": Verb("comparing", "diff", "Compare two recordings: coverage, answers, times."),
    "drive": Verb("driving", "drive", "Send recorded requests at a live server, and record the answers."),
    "compare": Verb("comparing", "compare", "Judge a second server by recordings of the same work."),
    "check-wire": Verb("wire_checking", "check_wire", "Compare recordings made before and behind a gateway."),
    "calibrate": Verb("calibrating", "calibrate", "Find match rules for what varies from run to run."),
    "web": Verb("inspecting", "web", "Show cassettes in a browser."),
    "search": Verb("searching", "search", "Find exchanges by words in prompts and answers."),
    "tail": Verb("tailing", "tail", "Follow a recording, one line per exchange."),
    "sql": Verb("querying", "sql", "Run SQL with views of messages, chunks and legs."),
    "info": Verb("reading", "info", "Describe a cassette: format, rules, contents, sizes."),
    "verify": Verb("checking", "verify", "Check that a cassette is undamaged, and free of secrets."),
    "join": Verb("keeping", "join", "Join the cassettes of a prefill and a decode server."),
    "merge": Verb("keeping", "merge", "Merge several cassettes into one."),
    "compact": Verb("keeping", "compact", "Make a cassette as small as it gets."),
    "migrate": Verb("keeping", "migrate", "Rewrite a cassette in the newest format."),
    "prune": Verb("pruning", "prune", "Delete recordings."),
    "export": Verb("exchanging", "export", "Write recordings for other programs."),
    "import": Verb("exchanging", "import_", "Make a cassette of other programs' recordings."),
    "redact": Verb("redacting", "redact", "Remove secrets from a cassette."),
    "config": Verb("configuring", "config", "Check a configuration file, or write an example of one."),
    "completion": Verb("completing", "completion", "Install completion for bash, zsh or fish."),
    "demo": Verb("demonstrating", "demo", "Record, replay and compare on this machine."),
}
"""All verbs, in the order of a user's life. The list, completion and suggestions come from this table alone, so that a
verb's module, and what it imports, is loaded only when the verb is used (tests/cli/test_imports.py)."""


class Context(click.Context):
    """click's, whose help and usage show no control character: a default may come from somebody's config file."""

    def get_help(self) -> str:
        """What --help prints."""
        return visible_lines(super().get_help())

    def invoke(self, callback: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a verb. In an error of its, settings are spelled as this context got them."""
        try:
            return super().invoke(callback, *args, **kwargs)
        except ReplayProxyError as error:
            error.spelling = self._spelling
            raise

    def _spelling(self, name: str, value: str) -> str:
        match self.get_parameter_source(name):
            case ParameterSource.ENVIRONMENT:
                return f"{PREFIX}{name.upper()}{'=' if value else ''}{value}"
            case ParameterSource.DEFAULT_MAP:
                return f"{name.replace('_', '-')}{': ' if value else ''}{value} (in --config)"
        return as_flag(name, value)

    def get_usage(self) -> str:
        """The line above an error."""
        return visible_lines(super().get_usage())


class Verbs(click.Group):
    """Lists verbs in the order of a user's life, and suggests the nearest for an unknown one."""

    context_class = Context

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return verb_named(cmd_name) if cmd_name in VERBS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.short_help) for name, verb in VERBS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        options = click.Command.shell_complete(self, ctx, incomplete)  # the group's own way would load every verb
        names = [name for name in VERBS if name.startswith(incomplete)]
        return [*(CompletionItem(name, help=VERBS[name].short_help) for name in names), *options]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            near = suggestion(args[0], VERBS) or ": `replayproxy --help` lists them"
            raise click.UsageError(f"there is no verb {args[0]!r}{near}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@plain_option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    envvar="REPLAYPROXY_CONFIG",
    help="YAML file with one section per verb.",
)
@click.version_option(__version__, "-V", "--version", prog_name="replayproxy")
@click.pass_context
def replayproxy(ctx: click.Context, config: Path | None) -> None:
    """Record and replay LLM servers: the same bytes, the same chunks, the same times.

    \b
    Examples:
      replayproxy demo
      replayproxy record chat.cassette --upstream http://127.0.0.1:8000
      replayproxy replay chat.cassette --speed 1
    """
    group = ctx.command
    assert isinstance(group, click.Group)
    refuse_unknown_variables(group, ctx.invoked_subcommand)
    if config is not None and ctx.invoked_subcommand != "config":  # which says what is wrong with it
        from replayproxy.cli.config_file import load_config

        ctx.default_map = dict(load_config(group, config))
        section = ctx.default_map.get(ctx.invoked_subcommand or "", {})
        if LOG_FORMAT not in os.environ and section.get("log_format") in messages.FORMATS:
            messages.use(section["log_format"])


def commands() -> list[click.Command]:
    """All verbs, in the order of a user's life. Loads every one."""
    return [verb_named(name) for name in VERBS]


@cache
def verb_named(name: str) -> click.Command:
    """A verb of the table. Loads its module."""
    verb = VERBS[name]
    command: click.Command = getattr(import_module(f"replayproxy.cli.verbs.{verb.module}"), verb.function)
    command.short_help = verb.short_help
    return _with_example_last(command)


def _with_example_last(verb: click.Command) -> click.Command:
    """A docstring's example, below the options: the last thing one reads is what one pastes."""
    verb.context_class = Context
    if isinstance(verb, click.Group):
        for one in verb.commands.values():
            _with_example_last(one)
    text, mark, example = inspect.cleandoc(verb.help or "").partition("\b\nExample")
    if mark:
        verb.help, verb.epilog = text.rstrip(), mark + example
    return verb


def main(arguments: list[str] | None = None) -> None:
    """The console script."""
    with messages.speaking(_form(sys.argv[1:] if arguments is None else arguments)):
        code = _run(arguments)
    for stream in (sys.stdout, sys.stderr):
        _let_go(stream)
    sys.exit(code)


def _let_go(stream: TextIO) -> None:
    """Without a reader of stdout, the interpreter would make 120 of every exit code (`signal`, note on SIGPIPE)."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _form(words: Sequence[str]) -> str:
    """How to speak before it is known whether the words make sense: as they ask for, where their verb has formats."""
    name = next((word for word in words if word in VERBS), None)
    if name is None or all(parameter.name != "log_format" for parameter in verb_named(name).params):
        return "text"
    return messages.requested_form(words, os.environ.get(LOG_FORMAT))


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
