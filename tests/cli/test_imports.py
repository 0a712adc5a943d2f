"""What each command loads, seen in `sys.modules` of a process of its own. Ratios are in `tests/bench/start.py`.

A command that a person waits for, or a shell at every press of Tab, loads no server and no client, and nothing that
only terminals or writers of cassettes need.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from replayproxy.cli.main import VERBS, commands
from tests.processes import environment

ROOT = Path(__file__).parent.parent.parent
GOLDEN = str(ROOT / "cassettes" / "format-2.cassette")

HEAVY = ("aiohttp", "quart", "hypercorn", "uvloop", "sqlite_utils", "rich.console")
"""What is loaded only by the verbs that need it, when they run."""

UNREAD = (*HEAVY, "asyncio", "jsonpath", "re2", "yaml")
"""The same, and what only comparing, redacting and configuring need: not for those who only look."""

UNREAD_BY_LS = (*UNREAD, "orjson", "brotli", "replayproxy.core.dialects.facts", "replayproxy.core.identity.canonical")
"""What a list of rows does not need either: it has only to know by which event a stream ends, which is not in JSON."""

OURS = ("replayproxy.assembly", "replayproxy.lifetime", "replayproxy.net.upstream", "replayproxy.cassette.reader")
"""Of the package itself, what neither help nor completion needs."""

_LOADED = """
import sys
from replayproxy.cli import main
sys.argv = ["replayproxy", *sys.argv[1:]]
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
finally:
    print("LOADED", *sys.modules, file=sys.stderr)
"""


def loaded(*words: str, program: str = _LOADED, variables: Mapping[str, str] | None = None) -> set[str]:
    """The modules that a command has loaded by its end, which was a good one."""
    ran = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        env={**environment(), **(variables or {})},
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return set(ran.stderr.rpartition("LOADED ")[2].split())


@pytest.mark.parametrize("words", [("--version",), ("-V",), ("--help",)], ids=" ".join)
def test_the_program_itself_loads_no_verb(words: tuple[str, ...]) -> None:
    """Neither what verbs need, nor any of their modules."""
    modules = loaded(*words)
    verbs = {f"replayproxy.cli.verbs.{verb.module}" for verb in VERBS.values()}
    assert modules & {*UNREAD, *OURS, *verbs, "sqlite3", "msgpack", "zstandard", "orjson"} == set()


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_loads_no_server(verb: str) -> None:
    """What it says is there without what it does."""
    assert loaded(verb, "--help") & {*HEAVY, *OURS[:3]} == set()


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ("bash", ""),
        ("zsh", "re"),
        ("fish", "--"),
        ("bash", "replay --on-"),
        ("zsh", "ls --js"),
        ("fish", "record --upstream-t"),
        ("bash", "stats --by "),
    ],
)
def test_completion_loads_no_server(shell: str, words: str) -> None:
    """A shell asks at every press of Tab."""
    asked = ["replayproxy", *words.split(" ")]
    variables = {"_REPLAYPROXY_COMPLETE": f"{shell}_complete", "COMP_WORDS": " ".join(asked)}
    variables["COMP_CWORD"] = words.rpartition(" ")[2] if shell == "fish" else str(len(asked) - 1)
    modules = loaded(variables=variables)
    assert "click.shell_completion" in modules
    assert modules & {*HEAVY, *OURS} == set()


@pytest.mark.parametrize(
    "words",
    [
        ("ls", GOLDEN),
        ("ls", GOLDEN, "--json"),
        ("ls", GOLDEN, "--where", "status = 200", "--sort", "-ttft_s", "-n", "3"),
        ("ls", GOLDEN, GOLDEN, "--csv"),
    ],
    ids=lambda words: " ".join(Path(word).name for word in words),
)
def test_a_list_loads_what_reads_rows(words: tuple[str, ...]) -> None:
    """No loop, no rules, no parser of JSONPath or YAML; and none of JSON where it prints none."""
    unread = UNREAD if "--json" in words else UNREAD_BY_LS
    assert (
        loaded(*words) & {*unread, *OURS[:3], "replayproxy.core.identity.rules", "replayproxy.core.redaction"} == set()
    )


@pytest.mark.parametrize(
    "words",
    [
        ("info", GOLDEN),
        ("show", GOLDEN),
        ("show", GOLDEN, "--print", "HBhbt"),
        ("stats", GOLDEN),
        ("stats", "--explain"),
        ("verify", GOLDEN),
        ("prune", GOLDEN, "--where", "status = 500", "--dry-run"),
    ],
    ids=lambda words: " ".join(Path(word).name for word in words),
)
def test_reading_loads_no_server(words: tuple[str, ...]) -> None:
    """Whoever looks at a cassette opens no socket."""
    assert loaded(*words) & {*HEAVY, *OURS[:3]} == set()


def test_the_package_loads_only_the_standard_library() -> None:
    """pytest imports it in every run where it is installed."""
    modules = loaded(program='import sys, replayproxy\nprint("LOADED", *sys.modules, file=sys.stderr)')
    bare = loaded(program='import sys\nprint("LOADED", *sys.modules, file=sys.stderr)')
    strangers = {module.partition(".")[0] for module in modules - bare} - {"replayproxy"}
    assert strangers - sys.stdlib_module_names == set()


def test_a_variable_is_looked_for_among_all_verbs() -> None:
    """One that another verb reads is known, one that none reads is a mistake; the verb's own load nothing more."""
    assert "replayproxy.cli.verbs.serving" in loaded(
        "ls", GOLDEN, variables={"REPLAYPROXY_UPSTREAM": "http://127.0.0.1:9"}
    )
    own = loaded("wait", "--help", variables={"REPLAYPROXY_TIMEOUT": "1s"})
    assert "replayproxy.cli.verbs.serving" not in own


def test_the_table_of_verbs_is_that_of_the_verbs() -> None:
    """Each is found under its own name, with a docstring, and the list of verbs says of each what the table says."""
    assert [command.name for command in commands()] == list(VERBS)
    assert [command.short_help for command in commands()] == [verb.short_help for verb in VERBS.values()]
    assert all(command.help for command in commands())
