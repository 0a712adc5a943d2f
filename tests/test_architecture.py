"""The layers, and which libraries each package may use. Read the docstring of `replayproxy/__init__.py` first.

import-linter knows the layers (in pyproject.toml); what it cannot say is read from the syntax trees here.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOUSE = ROOT / "replayproxy"
FILES = sorted(HOUSE.rglob("*.py"))

# Where a library lives: the folders and files of replayproxy/ that may import it
HOMES: dict[str, tuple[str, ...]] = {
    "aiohttp": ("net/",),
    "httptools": ("net/",),
    "socket": ("net/", "cli/", "pytest_plugin/"),
    "ssl": ("net/",),
    "uvloop": ("net/", "lifetime.py"),
    "time": ("net/clock.py",),
    "msgpack": ("cassette/", "simulator/kv_events.py"),
    "sqlite3": ("cassette/", "sqlite_plugins/", "formats/timefork.py"),
    "sqlite_utils": ("cassette/", "sqlite_plugins/for_sqlite_utils.py"),
    "datasette": ("sqlite_plugins/for_datasette.py",),
    "brotli": ("cassette/coding/bundled.py", "core/coding_layers.py"),
    "re2": ("core/patterns.py",),
    "jsonpath": ("core/paths.py", "core/identity/rules.py"),
    "zstandard": ("cassette/", "core/coding_layers.py"),
    "hypercorn": (),
    "quart": ("admin/",),
    "click": ("cli/",),
    "pythonjsonlogger": ("cli/",),
    "zmq": ("net/zmq_publisher.py", "net/zmq_subscriber.py"),
    "rich": ("cli/",),
    "pytest": ("pytest_plugin/",),
    # Nobody's: a cassette comes from strangers
    "marshal": (),
    "pickle": ("worker_process.py",),  # between two processes of ours
    "shelve": (),
}

# Floors 0 and 1 do no I/O and wait for nothing
PURE = ("core/", "errors.py", "model.py", "ports.py")
IMPURE = {
    *("asyncio", "concurrent", "datetime", "fcntl", "io", "logging", "multiprocessing", "os", "pathlib", "queue"),
    *("secrets", "select", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys"),
    *("tempfile", "threading", "time", "urllib.request", "uuid"),
}

# Only net/clock.py reads a clock, whatever module has one
CLOCKS = {"now", "utcnow", "today"}


@cache
def tree_of(path: Path) -> ast.Module:
    """A file, parsed once for all that read it."""
    return ast.parse(path.read_text())


def where(path: Path) -> str:
    """A file's place in the house."""
    return path.relative_to(HOUSE).as_posix()


def lives(place: str, homes: tuple[str, ...]) -> bool:
    """Whether a file is one of these, or in one of these folders."""
    return any(place == home or (home.endswith("/") and place.startswith(home)) for home in homes)


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules a file imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def strangers(place: str, tree: ast.AST) -> set[str]:
    """What a file imports that lives elsewhere."""
    modules = {module.partition(".")[0] for module in imported(tree)}
    found = {module for module in modules & set(HOMES) if not lives(place, HOMES[module])}
    if lives(place, PURE):
        found |= {module for module in imported(tree) if module in IMPURE or module.partition(".")[0] in IMPURE}
    if place in PURE:
        found |= {module for module in modules - {"replayproxy", ""} if module not in sys.stdlib_module_names}
    return found


def chances(tree: ast.AST) -> list[str]:
    """Uses of the `random` module other than `random.Random(seed)`."""
    nodes = list(ast.walk(tree))
    found = [
        f"line {node.lineno}: from random import"
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module == "random"
    ]
    uses = [
        node
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random"
    ]
    if not uses:
        return found
    seeded = {
        id(node.func)
        for node in nodes
        if isinstance(node, ast.Call) and node.args and dotted(node.func) == "random.Random"
    }
    annotations = {
        id(inner)
        for node in nodes
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if annotation is not None
        for inner in ast.walk(annotation)
    }
    return [*found, *(f"line {use.lineno}: {ast.unparse(use)}" for use in uses if id(use) not in seeded | annotations)]


def clocks(tree: ast.AST) -> list[str]:
    """Calls of `datetime.now` and its kin."""
    return [
        f"line {node.lineno}: {ast.unparse(node.func)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CLOCKS
        and ast.unparse(node.func.value).rpartition(".")[2] in {"datetime", "date"}
    ]


def waits(tree: ast.AST) -> list[str]:
    """Functions that wait, by their own word."""
    kinds = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    return [f"line {node.lineno}: {type(node).__name__}" for node in ast.walk(tree) if isinstance(node, kinds)]


def breaches(
    reading: Callable[[str, ast.Module], Collection[str]], places: Iterable[Path] = FILES
) -> dict[str, list[str]]:
    """What a reader finds in each file that is not as it should be: all of it at once, by the file's place."""
    found = {where(path): sorted(reading(where(path), tree_of(path))) for path in places}
    assert found, "no file was read"
    return {place: lines for place, lines in found.items() if lines}


def test_every_library_lives_in_its_room() -> None:
    """The wire's in net/, the disk's in cassette/, the browser's in admin/, the terminal's in cli/."""
    assert breaches(strangers) == {}


def test_randomness_has_a_seed() -> None:
    """`random.Random(seed)` and nothing else, so that the order of arrival changes nothing."""
    assert breaches(lambda _, tree: chances(tree)) == {}


def test_one_file_reads_the_clock() -> None:
    """Time is a parameter everywhere but in net/clock.py."""
    assert breaches(lambda place, tree: () if place == "net/clock.py" else clocks(tree)) == {}


def test_the_core_waits_for_nothing() -> None:
    """No await in core/."""
    assert breaches(lambda _, tree: waits(tree), (path for path in FILES if where(path).startswith("core/"))) == {}


def test_names_are_nouns_of_the_field() -> None:
    """No file is called for being of use (style 8)."""
    useful = {"utils", "util", "helpers", "helper", "manager", "data", "info", "common", "misc"}
    assert [where(path) for path in FILES if path.stem in useful] == []


def test_modules_import_each_other_in_no_circle() -> None:
    """Any module can be imported first, whatever a program or a test begins with."""
    trees = {module_name(path): tree_of(path) for path in FILES}
    assert circles({name: imported_first(tree, trees) & trees.keys() for name, tree in trees.items()}) == []


def module_name(path: Path) -> str:
    """What imports a file calls it."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported_first(tree: ast.Module, modules: Container[str]) -> set[str]:
    """The modules whose content a module needs while it is imported itself; `from package import module` needs that."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found.update(imported(node))
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(name if name in modules else str(node.module) for name in names)
    return found


def circles(imports: dict[str, set[str]]) -> list[str]:
    """Modules that import themselves by way of others: what is left when all that end somewhere are taken away."""
    left = {name: set(needed) for name, needed in imports.items()}
    while ends := {name for name, needed in left.items() if not needed & left.keys()}:
        left = {name: needed for name, needed in left.items() if name not in ends}
    while beginnings := left.keys() - set().union(*left.values()):
        left = {name: needed for name, needed in left.items() if name not in beginnings}
    return sorted(left)


SPEAKERS = ("cli/terminal/",)
"""Who may write to a terminal: everybody else gives its text to these, who make control characters visible."""


def speaks(tree: ast.AST) -> list[str]:
    """Where a file writes to stdout or stderr by itself."""
    mute = {"print", "click.echo", "click.secho", "click.style", "logging.basicConfig", "traceback.print_exc"}
    mute |= {f"sys.{stream}.{verb}" for stream in ("stdout", "stderr") for verb in ("write", "buffer.write")}
    return [
        f"line {node.lineno}: {ast.unparse(node.func)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (dotted(node.func) in mute or (isinstance(node.func, ast.Attribute) and node.func.attr == "show"))
    ]


def dotted(node: ast.expr) -> str | None:
    """A name with its attributes, as it is written: `sys.stdout.write`. None for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := dotted(node.value)):
        return f"{owner}.{node.attr}"
    return None


def test_one_place_speaks() -> None:
    """No text of a stranger reaches a terminal as it is."""
    assert breaches(lambda place, tree: () if lives(place, SPEAKERS) else speaks(tree)) == {}


def test_a_source_plays_by_one_signature() -> None:
    """Upstream, pair and simulator can stand in each other's place; what is no source has another name."""
    signatures = {
        place: ast.unparse(node.args)
        for place in FILES
        for node in ast.walk(ast.parse(place.read_text()))
        if isinstance(node, ast.AsyncFunctionDef) and node.name == "play"
    }
    assert len(signatures) >= 4
    assert len(set(signatures.values())) == 1, signatures


EXCEPTION = re.compile(r"#\s*(?:noqa: [A-Z0-9, ]+?|type: ignore\[[a-z0-9, -]+\]|pragma: no cover)(?P<reason>\s.*)?$")
SILENCED = re.compile(r"#\s*(noqa|type: ignore|pragma: no cover)")


def test_an_exception_carries_its_reason() -> None:
    """A lint or type rule is silenced by name, with the reason on the same line (style 22)."""
    texts = {path: path.read_text() for path in [*FILES, *(ROOT / "tests").rglob("*.py")]}
    found = {path: list(unreasoned(text)) for path, text in texts.items() if SILENCED.search(text)}
    assert {str(path.relative_to(ROOT)): lines for path, lines in found.items() if lines} == {}


def unreasoned(source: str) -> Iterator[str]:
    """Comments that silence a rule and do not say why."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and SILENCED.match(token.string):
            match = EXCEPTION.match(token.string)
            if match is None or not (match["reason"] or "").strip(" #"):
                yield f"line {token.start[0]}: {token.string}"


def test_the_floors_hold() -> None:
    """Imports go down, never up, never sideways between rooms: the contracts of import-linter in pyproject.toml."""
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as run; run()",
            "--no-cache",
            "--no-logo",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "0 broken" in ran.stdout


# The readers above, each shown a break

BROKEN: list[tuple[str, str, set[str]]] = [
    ("proxy/handler.py", "import aiohttp.web", {"aiohttp"}),
    ("proxy/handler.py", "def f():\n    from sqlite3 import connect", {"sqlite3"}),
    ("cassette/writer_thread.py", "import time", {"time"}),
    ("net/http_server.py", "from time import monotonic", {"time"}),
    ("net/clock.py", "import time", set()),
    ("net/http_server.py", "import aiohttp, httptools", set()),
    ("core/dialects/sse.py", "import asyncio", {"asyncio"}),
    ("core/dialects/sse.py", "from os import path", {"os", "os.path"}),
    ("core/dialects/sse.py", "import orjson", set()),
    ("core/identity/rules.py", "from urllib.parse import parse_qsl", set()),
    ("core/identity/rules.py", "import urllib.request", {"urllib.request"}),
    ("model.py", "import orjson", {"orjson"}),
    ("model.py", "from replayproxy.errors import Damaged\nimport enum", set()),
    ("admin/app.py", "import pickle", {"pickle"}),
]


@pytest.mark.parametrize(("place", "source", "found"), BROKEN)
def test_a_stranger_is_seen(place: str, source: str, found: set[str]) -> None:
    """Also inside functions, under another name, and by `from`."""
    assert strangers(place, ast.parse(source)) == found


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("import random\nrandom.Random(7).random()", 0),
        ("import random\ndef f(chance: random.Random) -> random.Random: ...", 0),
        ("import random\nrandom.Random()", 1),
        ("import random\nrandom.random()", 1),
        ("from random import Random", 1),
        ("f(random.shuffle)", 1),
    ],
)
def test_chance_is_seen(source: str, count: int) -> None:
    """Without a seed it is chance."""
    assert len(chances(ast.parse(source))) == count


def test_circles_are_seen() -> None:
    """Of two, of three, and not what only leads to one or away from one."""
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circles({"a": {"b"}, "b": {"c", "d"}, "c": {"b"}, "d": set()}) == ["b", "c"]
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c"]
    source = "import a.b\nfrom c import d, e\ndef f(): import g\nif TYPE_CHECKING: import h"
    assert imported_first(ast.parse(source), {"a.b", "c", "c.d"}) == {"a.b", "c.d", "c"}


def test_the_other_readers_see_too() -> None:
    """Clocks, waits and exceptions without a reason."""
    assert clocks(ast.parse("datetime.now(UTC)\nimport datetime\ndatetime.date.today()")) == [
        "line 1: datetime.now",
        "line 3: datetime.date.today",
    ]
    assert clocks(ast.parse("clock.now()")) == []
    assert len(speaks(ast.parse("print(1)\nclick.echo(a, err=True)\nsys.stderr.write(a)\nerror.show()"))) == 4
    assert waits(ast.parse("async def f():\n    await g()")) == ["line 1: AsyncFunctionDef", "line 2: Await"]
    silenced = "a = 1  # no{0}\nb = 2  # no{0}: E501\nc = 3  # no{0}: E501  because\nd = 4  # type: ignore[misc]\n"
    assert [line.partition(":")[0] for line in unreasoned(silenced.format("qa"))] == ["line 1", "line 2", "line 4"]


def test_a_connection_that_a_test_opens_is_closed() -> None:
    """Its context manager ends a transaction and closes nothing; Python 3.13 warns when it is collected."""
    open_ones = re.compile(r"with sqlite3\.connect\(")
    found = [file.name for file in Path(__file__).parent.rglob("*.py") if open_ones.search(file.read_text("utf-8"))]
    assert found == []
