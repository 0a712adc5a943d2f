"""What each command loads, seen in `sys.modules` of a process of its own. Ratios are in `tests/bench/start.py`.

A command that a person waits for, or a shell at every press of Tab, loads no server and no client, and nothing that
only terminals or writers of cassettes need.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
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

_FORKS = """
import json, os, sys
from replayproxy.cli import main
for line in sys.stdin:
    words, variables = json.loads(line)
    if os.fork() == 0:
        os.environ.update(variables)
        sys.argv, sys.stdout, sys.stderr = ["replayproxy", *words], *(open(os.devnull, "w") for _ in range(2))
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        os.write(1, json.dumps([code, *sys.modules]).encode() + b"\\n")
        os._exit(0)
    os.wait()
"""
"""Has loaded what the program itself loads, and becomes one command after the other: to start Python for each takes
ten times as long."""

_LOADED = 'import sys{}\nprint("LOADED", *sys.modules, file=sys.stderr)'


@pytest.fixture(scope="module")
def program() -> Iterator[subprocess.Popen[str]]:
    """One for all commands."""
    with subprocess.Popen(
        [sys.executable, "-c", _FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        yield process


Loaded = Callable[..., set[str]]


@pytest.fixture
def loaded(program: subprocess.Popen[str]) -> Loaded:
    """The modules that a command has loaded by its end, which was a good one."""

    def call(*words: str, **variables: str) -> set[str]:
        assert program.stdin is not None
        assert program.stdout is not None
        print(json.dumps([words, variables]), file=program.stdin, flush=True)
        code, *modules = json.loads(program.stdout.readline())
        assert code == 0, f"`replayproxy {' '.join(words)}` ended with {code}"
        return set(modules)

    return call


def loaded_by(program: str) -> set[str]:
    """The modules that a program has loaded."""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), timeout=60, check=True
    )
    return set(ran.stderr.rpartition("LOADED ")[2].split())


@pytest.mark.parametrize("words", [("--version",), ("-V",), ("--help",)], ids=" ".join)
def test_the_program_itself_loads_no_verb(loaded: Loaded, words: tuple[str, ...]) -> None:
    """Neither what verbs need, nor any of their modules."""
    modules = loaded(*words)
    verbs = {f"replayproxy.cli.verbs.{verb.module}" for verb in VERBS.values()}
    assert modules & {*UNREAD, *OURS, *verbs, "sqlite3", "msgpack", "zstandard", "orjson"} == set()


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_loads_no_server(loaded: Loaded, verb: str) -> None:
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
def test_completion_loads_no_server(loaded: Loaded, shell: str, words: str) -> None:
    """A shell asks at every press of Tab."""
    asked = ["replayproxy", *words.split(" ")]
    variables = {"_REPLAYPROXY_COMPLETE": f"{shell}_complete", "COMP_WORDS": " ".join(asked)}
    variables["COMP_CWORD"] = words.rpartition(" ")[2] if shell == "fish" else str(len(asked) - 1)
    modules = loaded(**variables)
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
def test_a_list_loads_what_reads_rows(loaded: Loaded, words: tuple[str, ...]) -> None:
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
def test_reading_loads_no_server(loaded: Loaded, words: tuple[str, ...]) -> None:
    """Whoever looks at a cassette opens no socket."""
    assert loaded(*words) & {*HEAVY, *OURS[:3]} == set()


def test_the_package_loads_only_the_standard_library() -> None:
    """pytest imports it in every run where it is installed."""
    modules = loaded_by(_LOADED.format(", replayproxy"))
    bare = loaded_by(_LOADED.format(""))
    strangers = {module.partition(".")[0] for module in modules - bare} - {"replayproxy"}
    assert strangers - sys.stdlib_module_names == set()


def test_a_variable_is_looked_for_among_all_verbs(loaded: Loaded) -> None:
    """One that another verb reads is known, one that none reads is a mistake; the verb's own load nothing more."""
    assert "replayproxy.cli.verbs.serving" in loaded("ls", GOLDEN, REPLAYPROXY_UPSTREAM="http://127.0.0.1:9")
    own = loaded("wait", "--help", REPLAYPROXY_TIMEOUT="1s")
    assert "replayproxy.cli.verbs.serving" not in own


def test_the_table_of_verbs_is_that_of_the_verbs() -> None:
    """Each is found under its own name, with a docstring, and the list of verbs says of each what the table says."""
    assert [command.name for command in commands()] == list(VERBS)
    assert [command.short_help for command in commands()] == [verb.short_help for verb in VERBS.values()]
    assert all(command.help for command in commands())
