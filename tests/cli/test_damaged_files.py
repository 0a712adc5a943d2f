"""Every verb on damaged files: a sentence and an exit code, never a traceback.

The damage is drawn from a seed (`tests/damage.py`). More of it than `make test` has time for: `tests/fuzz_damage.py`.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from tests import fuzz
from tests.damage import put
from tests.fuzz_damage import Findings, call, call_verbs, fault_in, run_verbs, sources
from tests.processes import replayproxy

FILES = fuzz.cases(12)
PART = 4
"""Files that one test takes: more would come near its time limit on a busy machine."""

CALLS = 10
"""For each file, of some 40."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What is damaged; the first one is left as it is too."""
    return sources(tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def sound(made: list[Path]) -> Path:
    """Some thirty exchanges of all kinds: enough for dictionaries."""
    return made[0]


@pytest.mark.parametrize("part", range(0, FILES, PART))
def test_no_verb_breaks_on_a_damaged_file(tmp_path: Path, made: list[Path], part: int) -> None:
    """Each file gets its seed's damage, and some verbs are run on it; those that read leave it as it is."""
    findings = Findings()
    seeds = range(part, min(part + PART, FILES))
    for seed in seeds:
        run_verbs(seed, made[seed % len(made)], made[0], tmp_path / str(seed), CALLS, findings)
    assert findings.wrong == []
    assert findings.calls == len(seeds) * CALLS


@pytest.mark.parametrize("value", [None, 2**40, -1, "text", 1.5, b"x"], ids=str)
def test_no_verb_breaks_on_an_endpoint_that_is_not_there(tmp_path: Path, sound: Path, value: object) -> None:
    """`show` found an id whose row the view does not have: a StopIteration."""
    damaged = tmp_path / "one" / "a.cassette"
    damaged.parent.mkdir()
    shutil.copy(sound, damaged)
    put(damaged, "exchange", "endpoint", value, as_text=False)
    findings = Findings()
    call_verbs(damaged, sound, str(value), random.Random(0), 16, findings)
    assert findings.wrong == []


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
    wrong = [(arguments, fault) for arguments in calls if (fault := fault_in(*call(arguments))) is not None]
    assert wrong == []
    # exec in a process of its own: it blocks the signals of its process until it ends, and all of later tests' with it.
    ran = replayproxy("exec", path, "--", "true")
    assert ran.returncode != 0
    assert "internal error" not in ran.stderr
