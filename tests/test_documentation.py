"""What the documentation says is there: every flag that it names exists, every example parses, the reference is what
the commands say, every verb has an example in its help.

What pages say about facts of the package, and whether their examples run, is in tests/docs.
"""

from __future__ import annotations

import re
import shlex
from itertools import takewhile
from typing import cast

import click
import pytest

from replayproxy import setting_table
from replayproxy.cli.command_run import child_variables
from replayproxy.cli.options import leaves
from replayproxy.pytest_plugin.options import OF_TEST, add_options
from replayproxy.pytest_plugin.playback import Playback
from replayproxy.setting_kinds import Choice
from tests.docs.pages import PAGES, blocks
from tests.examples.folders import VERBS, understood
from tests.proxy.test_verdict import TABLE
from tools import reference

SHELL = "\n".join(block for name in PAGES for language in ("sh", "yaml") for block in blocks(name, language))
EXAMPLES = sorted(set(re.findall(r"^(?:# )?replayproxy (.+?)(?:\s{2,}#.*)?$", SHELL.replace("\\\n", ""), re.MULTILINE)))
VERDICTS = {code for *_, word, code in TABLE if word in ("misses", "unused", "damaged", "vacuous", "mishandled")}


OF_VLLM = {
    "--distributed-executor-backend",
    "--kv-events-config",
    "--kv-transfer-config",
    "--kv-cache-memory-bytes",
    "--tensor-parallel-size",
    "--shutdown-timeout",
    "--data-parallel-size",
    "--chat-template",
}
"""Flags of `vllm serve`, which runs our executor (docs/vllm-plugin.md) and publishes events (docs/simulator.md)."""


def flags(command: click.Command) -> set[str]:
    """The long flags of a verb."""
    parameters = (parameter for leaf in leaves(command) for parameter in leaf.params)
    return {flag for parameter in parameters for flag in _spellings(parameter) if flag.startswith("--")}


def _spellings(parameter: click.Parameter) -> list[str]:
    return [*parameter.opts, *parameter.secondary_opts]


class Declared:
    """A `pytest.Parser` that only notes what is declared."""

    def __init__(self) -> None:
        self.flags: set[str] = set()
        self.twins: set[str] = set()

    def getgroup(self, name: str, description: str) -> Declared:
        """One group is as good as another."""
        return self

    def addoption(self, flag: str, **more: object) -> None:
        """A flag."""
        self.flags.add(flag)

    def addini(self, name: str, help: str, **more: object) -> None:
        """A key of the ini file."""
        self.twins.add(name)


def plugin() -> Declared:
    """What the pytest plugin declares."""
    declared = Declared()
    add_options(cast(pytest.Parser, declared))
    return declared


def test_every_flag_in_the_documentation_exists() -> None:
    """A flag that is written about can be typed."""
    known = set().union(*map(flags, VERBS.values())) | {"--config", "--help", "--version"} | plugin().flags
    foreign = {"--strict"} | OF_VLLM  # the first is mypy's
    # AIPerf's, guidellm's, vLLM's and mitmproxy's
    foreign |= {"--custom-dataset-type", "--data", "--dataset-name", "--dataset-path", "--input-file"}
    foreign |= {"--timed-trace-chunk-hash-size", "--timed-trace-sec-multiplier", "--set"}
    written = {(name, flag) for name, text in PAGES.items() for flag in re.findall(r"--[a-z][a-z-]+", text)}
    assert {(name, flag) for name, flag in written if flag not in known | foreign} == set()


def test_the_reference_is_what_the_commands_say() -> None:
    """`make reference` would change nothing; so every verb and every option is written about."""
    assert PAGES["docs/cli.md"] == reference.reference(), "run `make reference`"
    written = re.findall(r"^## ([\w-]+)$", PAGES["docs/cli.md"], re.MULTILINE)
    assert written == list(VERBS)


def test_what_the_page_on_ci_names_is_so() -> None:
    """The variables that a command gets, and the exit codes of a run."""
    page = PAGES["docs/ci.md"]
    named = set(re.findall(r"`([A-Z_]{8,})`", page))
    told = child_variables({}, "http://127.0.0.1:1", "http://127.0.0.1:2")
    assert named == {name for name in told if name.isupper()}
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    assert codes == VERDICTS


def test_every_option_of_the_plugin_is_documented() -> None:
    """And has its twin in the ini file, save for the one that switches all of it off."""
    declared = plugin()
    assert declared.flags - set(re.findall(r"--[a-z][a-z-]+", PAGES["docs/pytest.md"])) == set()
    twins = {flag.removeprefix("--").replace("-", "_") for flag in declared.flags} - {"disable_replayproxy"}
    assert declared.twins == twins


def test_what_a_test_gets_is_documented() -> None:
    """Every public name of the fixture, and every word of the marker."""
    page = PAGES["docs/pytest.md"]
    names = {name for name in vars(Playback) if not name.startswith("_")} - {"records"}
    assert {name for name in names if f"`{name}" not in page} == set()
    assert {word for word in OF_TEST if f"{word}=" not in page} == set()
    assert {mode for mode in cast(Choice, setting_table.TABLE["mode"].kind).values if f"`{mode}`" not in page} == set()


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_in_the_documentation_parses(example: str) -> None:
    """Nothing is run; the words are understood. tests/docs runs them."""
    words = list(takewhile(lambda word: word not in (">", "|", "&"), shlex.split(example, comments=True)))
    understood(words)


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_help_ends_with_an_example_that_parses(verb: str) -> None:
    """`Example:`, and below it a line to paste."""
    epilog = (VERBS[verb].epilog or "").replace("\\\n", "")
    assert epilog.startswith("\b\nExample")
    examples = re.findall(rf"^\s*replayproxy ({verb}\b.*)$", epilog, re.MULTILINE)
    assert examples, verb
    for example in examples:
        words = list(takewhile(lambda word: word not in (">", "|"), shlex.split(example)))
        understood(words)


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_help_fits_into_eighty_columns(verb: str) -> None:
    """Its examples too, in which a terminal would break words."""
    command = VERBS[verb]
    shown = command.get_help(click.Context(command, info_name=f"replayproxy {verb}", terminal_width=80))
    assert [line for line in shown.splitlines() if len(line) > 80] == []
