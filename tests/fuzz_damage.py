"""Damaged files for every verb and for the pytest plugin: each gets a sentence and an exit code, never a traceback.

    python -m tests.fuzz_damage                          2 000 files, 6 of some 40 calls each: 10 minutes of CPU time
    python -m tests.fuzz_damage --files 50 --calls 99    every call on each of 50 files
    python -m tests.fuzz_damage --first 1234 --files 1   one file again, by the seed that was printed

The damage is drawn from a seed (`tests/damage.py`), and so are the calls. Prints what is wrong, and ends with 1 then.
`make test` runs a small share of it (`tests/cli/test_damaged_files.py`, `tests/plugin/test_damaged_cassettes.py`).
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time  # noqa: TID251  a command of its own, with limits in seconds
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

from tests.damage import died, harm
from tests.processes import environment
from tests.recordings import chats, record, samples

FORMAT_1 = Path(__file__).parents[1] / "cassettes" / "format-1.cassette"

CODES = frozenset({0, 1, 2, 6})
"""What a verb may end with: well, for another reason, for its arguments, for damage."""

SLOW = 5.0
"""Seconds of CPU time of one call, above which it is reported."""

SUITE = 100
"""Cassettes that one run of pytest plays."""


@dataclass
class Findings:
    """What was done, and what was wrong with it."""

    calls: int = 0
    codes: dict[int, int] = field(default_factory=dict)
    slowest: tuple[float, str] = (0.0, "")
    wrong: list[str] = field(default_factory=list)


def sources(folder: Path) -> list[Path]:
    """What is damaged: a cassette of all kinds, one whose recorder died, one with bundles, one of the format before."""
    sound = record(folder / "sound.cassette", [*samples(), *chats(12)])
    bundled = record(folder / "bundled.cassette", [*samples(), *chats(300)])
    return [sound, sound, died(folder / "died.cassette"), bundled, FORMAT_1]


def reading(path: Path, sound: Path) -> Iterator[list[str]]:
    """What leaves the file as it is, byte for byte."""
    for words in (
        "ls",
        "ls --json",
        "ls --where status=200 --sort total_s",
        "stats",
        "stats --json",
        "info",
        "info --json",
        "verify",
        "verify --secrets",
        "verify --self-match",
    ):
        verb, *flags = words.split()
        yield [verb, str(path), *flags]
    yield from (["show", str(path), prefix] for prefix in "0123456789abcdef")
    yield ["show", str(path), "--json"]
    yield ["show", str(path), "--print", "HBhb"]
    folder = path.parent
    yield ["merge", str(folder / "merged"), str(path), str(sound)]
    yield ["merge", str(folder / "merged-behind"), str(sound), str(path)]
    yield ["join", str(folder / "joined"), "--prefill", str(path), "--decode", str(sound)]
    yield ["join", str(folder / "joined-behind"), "--prefill", str(sound), "--decode", str(path)]
    yield ["prune", str(path), "--where", "status = 200", "--dry-run"]


def writing(path: Path) -> Iterator[list[str]]:
    """What writes another file in its place."""
    yield ["migrate", str(path)]
    yield ["prune", str(path), "--where", "status = 200"]
    yield ["redact", str(path)]


def call(arguments: Sequence[str]) -> tuple[int, str]:
    """Call the console script's function in this process. Gives the exit code, and what it has said."""
    program = importlib.import_module("replayproxy.cli.main")
    said = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    code: object = 0
    with redirect_stdout(said), redirect_stderr(said):
        try:
            program.main(list(arguments))
        except SystemExit as ended:
            code = ended.code
    said.seek(0)
    return int(str(code or 0)), said.buffer.read().decode("utf-8", "replace")


def fault_in(code: int, said: str) -> str | None:
    """What is wrong with how a call has ended, if anything is."""
    if "Traceback (most recent call last)" in said or "internal error" in said:
        return f"a traceback: {said[-300:]}"
    if code not in CODES:
        return f"exit code {code}: {said[:200]}"
    if code and not re.search(r"\w+ \w+ \w+", said):
        return f"exit code {code} without a sentence"
    if "\x1b" in said:
        return f"escape sequences: {said[:200]!r}"
    return None


def run_verbs(seed: int, source: Path, sound: Path, folder: Path, calls: int, findings: Findings) -> None:
    """Damage one file, and call some of the verbs on it."""
    folder.mkdir()
    damaged = folder / "a.cassette"
    shutil.copy(source, damaged)
    call_verbs(damaged, sound, f"seed {seed} ({harm(damaged, seed)})", random.Random(seed), calls, findings)
    shutil.rmtree(folder)


def call_verbs(damaged: Path, sound: Path, name: str, chance: random.Random, calls: int, findings: Findings) -> None:
    """Call so many of the verbs on a file that stands in a folder of its own."""
    folder = damaged.parent
    kept = Path(shutil.copytree(folder, f"{folder}-kept"))
    before = damaged.read_bytes()
    every = [(one, True) for one in reading(damaged, sound)] + [(one, False) for one in writing(damaged)]
    chance.shuffle(every)
    for arguments, reads in every[:calls]:
        began = time.process_time()
        code, said = call(arguments)
        took = time.process_time() - began
        what = f"{name}: {' '.join(arguments).replace(str(folder), '')}"
        findings.calls += 1
        findings.codes[code] = findings.codes.get(code, 0) + 1
        findings.slowest = max(findings.slowest, (took, what))
        if (wrong := fault_in(code, said)) is not None:
            findings.wrong.append(f"{what}: {wrong}")
        if took > SLOW:
            findings.wrong.append(f"{what}: {took:.1f} s of CPU time")
        if damaged.read_bytes() != before:
            if reads:
                findings.wrong.append(f"{what}: has changed the file")
            shutil.rmtree(folder)
            shutil.copytree(kept, folder)
    shutil.rmtree(kept)


_CONFTEST = """
import json, pathlib, pytest
FOUND = pathlib.Path(__file__).with_name("found.jsonl")
def pytest_exception_interact(node, call, report):
    if not isinstance(call.excinfo.value, (pytest.fail.Exception, AssertionError)):
        with FOUND.open("a") as file:
            file.write(json.dumps([node.name, report.when, repr(call.excinfo.value)[:300]]) + "\\n")
"""

_TESTS = """
import http.client, json, pathlib, pytest
NAMES = sorted(path.name for path in (pathlib.Path(__file__).parent / "cassettes").glob("*.cassette"))
REQUESTS = json.loads(pathlib.Path(__file__).with_name("requests.json").read_text())
def ask(url, method, target, headers, body):
    host, _, prefix = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        connection.request(method, "/" + prefix + target, body.encode("latin-1"), dict(headers))
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except http.client.HTTPException:
        return 0  # recorded so, or ended so because it is damaged
    finally:
        connection.close()
@pytest.mark.parametrize("name", [pytest.param(one, marks=pytest.mark.replayproxy(one)) for one in NAMES])
def test_a_damaged_cassette(replayproxy, name):
    for request in REQUESTS:
        assert 0 <= ask(replayproxy.url, *request) < 600
    for called in replayproxy.calls:
        called.outcome
    replayproxy.misses
    replayproxy.assert_all_played()
"""


def run_plugin(seeds: Sequence[int], sources: Sequence[Path], folder: Path, findings: Findings) -> None:
    """Damage files, and play them all by one run of pytest, as a user's test-suite does."""
    cassettes = folder / "cassettes"
    cassettes.mkdir(parents=True)
    for seed in seeds:
        damaged = cassettes / f"{seed}.cassette"
        shutil.copy(sources[seed % len(sources)], damaged)
        harm(damaged, seed)
    requests = [
        [one.request.method, one.request.target, list(one.request.headers), one.request.body.decode("latin-1")]
        for one in (*samples(), *chats(2))
        if one.request.method in ("GET", "POST") and one.request.target.isascii()
    ]
    (folder / "requests.json").write_text(json.dumps(requests))
    (folder / "conftest.py").write_text(_CONFTEST)
    (folder / "test_damaged.py").write_text(_TESTS)
    (folder / "pytest.ini").write_text("[pytest]\n")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--replayproxy-mode", "none", "--tb=short"],
        cwd=folder,
        env=environment() | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": ""},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=1200,
        check=False,
    )
    findings.calls += len(seeds)
    findings.codes[ran.returncode] = findings.codes.get(ran.returncode, 0) + 1
    said = ran.stdout + ran.stderr
    if ran.returncode not in (0, 1) or "INTERNALERROR" in said:
        findings.wrong.append(f"pytest on seeds {seeds[0]} to {seeds[-1]}: exit code {ran.returncode}: {said[-1500:]}")
    for mark in ("Traceback (most recent call last)", "failed inside the proxy", "please report"):
        if mark in said:
            at = said.index(mark)
            findings.wrong.append(f"pytest on seeds {seeds[0]} to {seeds[-1]}: {said[max(0, at - 300) : at + 900]}")
    if (found := folder / "found.jsonl").exists():
        findings.wrong += [f"pytest, {line}" for line in found.read_text().splitlines()]
    shutil.rmtree(folder)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_damage", description=__doc__)
    parser.add_argument("--files", type=int, default=2000, help="damaged files")
    parser.add_argument("--first", type=int, default=0, help="the seed of the first one")
    parser.add_argument("--calls", type=int, default=6, help="calls for each file, of some 40")
    parser.add_argument("--minutes", type=float, default=60, help="of wall time, after which it ends where it is")
    parser.add_argument("--only", choices=("verbs", "plugin"), help="one of the two ways")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.files)
    until = time.monotonic() + 60 * options.minutes
    findings, done = Findings(), 0
    with tempfile.TemporaryDirectory(prefix="replayproxy-fuzz-") as name:
        folder = Path(name)
        made = sources(folder)
        for start in range(0, len(seeds), SUITE):
            some = seeds[start : start + SUITE]
            if time.monotonic() > until:
                break
            if options.only != "plugin":
                for seed in some:
                    run_verbs(seed, made[seed % len(made)], made[0], folder / str(seed), options.calls, findings)
            if options.only != "verbs":
                run_plugin(some, made, folder / f"suite-{start}", findings)
            done += len(some)
            print(f"{done} files, {findings.calls} calls, {len(findings.wrong)} wrong", file=sys.stderr, flush=True)  # noqa: T201  a command
    for wrong in findings.wrong:
        print(wrong)  # noqa: T201  a command
    codes = ", ".join(f"{code}: {count}" for code, count in sorted(findings.codes.items()))
    print(f"{done} files, {findings.calls} calls, exit codes {codes}; {len(findings.wrong)} wrong")  # noqa: T201  a command
    print(f"slowest: {findings.slowest[0]:.2f} s of CPU time, {findings.slowest[1]}")  # noqa: T201  a command
    return 1 if findings.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
