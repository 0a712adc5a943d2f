"""Every verb on damaged files: a sentence and an exit code, never a traceback.

The damage is drawn from a seed (`tests.damage`). `make fuzz` has more of it than `make test` has time for.
"""

from __future__ import annotations

import importlib
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import click
import pytest

from replayproxy.errors import ReplayProxyError
from tests import fuzz
from tests.damage import died, harm, put
from tests.processes import replayproxy
from tests.recordings import chats, record, samples

FILES = fuzz.cases(12)
PART = 4
"""Files that one test takes: more would come near its time limit on a busy machine."""

FORMAT_1 = Path(__file__).parents[2] / "cassettes" / "format-1.cassette"
PROGRAM = importlib.import_module("replayproxy.cli.main")


def reading(path: Path, sound: Path) -> Iterator[list[str]]:
    """What is done with it that leaves it as it is, byte for byte."""
    folder = path.parent
    for words in (
        "ls",
        "ls --json",
        "stats",
        "info",
        "info --json",
        "verify",
        "verify --secrets",
        "verify --self-match",
    ):
        verb, *flags = words.split()
        yield [verb, str(path), *flags]
    yield from (["show", str(path), prefix] for prefix in "0123456789abcdef")
    yield ["ls", str(path), "--where", "status = 200", "--sort", "total_s"]
    yield ["merge", str(folder / "merged"), str(path), str(sound)]
    yield ["merge", str(folder / "merged-behind"), str(sound), str(path)]
    yield ["join", str(folder / "joined"), "--prefill", str(path), "--decode", str(sound)]
    yield ["join", str(folder / "joined-behind"), "--prefill", str(sound), "--decode", str(path)]
    yield ["prune", str(path), "--where", "status = 200", "--dry-run"]


def writing(path: Path) -> Iterator[list[str]]:
    """What writes another file in its place."""
    yield ["migrate", str(path)]
    yield ["prune", str(path), "--where", "status = 200"]
    yield ["prune", str(path), "--incomplete"]
    yield ["redact", str(path)]


def called(arguments: list[str]) -> str | None:
    """Call the program. Gives what escaped that the console script would show as an internal error."""
    with redirect_stdout(io.TextIOWrapper(io.BytesIO(), "utf-8")):
        with redirect_stderr(io.TextIOWrapper(io.BytesIO(), "utf-8")):
            try:
                PROGRAM.replayproxy.main(args=arguments, prog_name="replayproxy", standalone_mode=False)
            except (ReplayProxyError, click.ClickException, click.exceptions.Exit):
                return None
            except Exception as error:  # noqa: BLE001  whatever it is, it is what this is looking for
                return f"{arguments[0]}: {error!r:.100}"
    return None


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some thirty exchanges of all kinds: enough for dictionaries."""
    for command in PROGRAM.commands():
        PROGRAM.replayproxy.add_command(command)
    return record(tmp_path_factory.mktemp("sound") / "sound.cassette", [*samples(), *chats(12)])


@pytest.fixture(scope="module")
def sources(sound: Path) -> list[Path]:
    """What is damaged: a cassette with dictionaries, one whose recorder has died, one of the format before."""
    return [sound, sound, died(sound.with_name("died.cassette")), FORMAT_1]


def found(folder: Path, sound: Path, damaged: Path) -> list[str]:
    """What escapes from any verb, or changes what it was only to read."""
    kept = Path(shutil.copytree(folder, f"{folder}-kept"))
    before = damaged.read_bytes()
    escaped = []
    for arguments in (*reading(damaged, sound), *writing(damaged)):
        if (what := called(arguments)) is not None:
            escaped.append(what)
        if damaged.read_bytes() != before:
            if arguments in reading(damaged, sound):
                escaped.append(f"{' '.join(arguments)} has changed the file")
            shutil.rmtree(folder)
            shutil.copytree(kept, folder)
    shutil.rmtree(kept)
    return escaped


@pytest.mark.parametrize("part", range(0, FILES, PART))
def test_no_verb_breaks_on_a_damaged_file(tmp_path: Path, sound: Path, sources: list[Path], part: int) -> None:
    """Each file gets its seed's damage, and each verb is run on it; those that read leave it as it is."""
    escaped: dict[str, list[str]] = {}
    for seed in range(part, min(part + PART, FILES)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        damaged = folder / "a.cassette"
        shutil.copy(sources[seed % len(sources)], damaged)
        how = harm(damaged, seed)
        if what := found(folder, sound, damaged):
            escaped[f"seed {seed}: {how}"] = what
        shutil.rmtree(folder)
    assert escaped == {}


@pytest.mark.parametrize("value", [None, 2**40, -1, "text", 1.5, b"x"], ids=str)
def test_no_verb_breaks_on_an_endpoint_that_is_not_there(tmp_path: Path, sound: Path, value: object) -> None:
    """`show` found an id whose row the view does not have: a StopIteration."""
    damaged = tmp_path / "one" / "a.cassette"
    damaged.parent.mkdir()
    shutil.copy(sound, damaged)
    put(damaged, "exchange", "endpoint", value, as_text=False)
    assert found(damaged.parent, sound, damaged) == []


@pytest.fixture
def odd(tmp_path: Path) -> dict[str, Path]:
    """Paths that lead to no file."""
    paths = {name: tmp_path / name for name in ("folder", "pipe", "loop", "dangling", "empty", "device")}
    paths["folder"].mkdir()
    os.mkfifo(paths["pipe"])
    paths["loop"].symlink_to("loop")
    paths["dangling"].symlink_to("nowhere")
    paths["empty"].touch()
    paths["device"].symlink_to("/dev/zero")
    return {**paths, "below a loop": paths["loop"] / "a.cassette", "below a pipe": paths["pipe"] / "a.cassette"}


@pytest.mark.parametrize(
    "name", ["folder", "pipe", "loop", "dangling", "empty", "device", "below a loop", "below a pipe"]
)
def test_what_is_no_file_is_refused_with_a_sentence(odd: dict[str, Path], sound: Path, name: str) -> None:
    """By each verb, and as what is written to: nothing is waited for, and nothing escapes."""
    path = odd[name]
    serving = (["--port", "0", "--admin-port", "off"], ["--upstream", "http://127.0.0.1:9"])
    calls = [
        *([verb, str(path)] for verb in ("ls", "stats", "info", "verify", "redact", "migrate")),
        ["show", str(path), "1"],
        ["prune", str(path), "--where", "1"],
        ["merge", str(path.parent / "out"), str(sound), str(path)],
        ["replay", str(path), *serving[0]],
    ]
    if name not in ("dangling", "empty"):  # there something may be written
        calls += [["merge", str(path), str(sound), str(sound)]]
        calls += [[verb, str(path), *serving[0], *serving[1]] for verb in ("record", "auto")]
    assert [called(arguments) for arguments in calls] == [None] * len(calls)
    # exec in a process of its own: it blocks the signals of its process until it ends, and all of later tests' with it.
    ran = replayproxy("exec", path, "--", "true")
    assert ran.returncode != 0
    assert "internal error" not in ran.stderr
