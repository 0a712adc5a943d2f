"""`demo`: what it says and with which exit code; that it is right is seen by running it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from replayproxy.cli.verbs import demo
from replayproxy.cli.verbs.demo import Claim
from tests.cli.commands import tape
from tests.cli.tapes import Read

RIGHT = Claim("same status and bytes", True, "17 answers, 13370 chunks, twice: no difference")
LATE = Claim("same times, 5 ms at p99", None, "p50 118.46 ms, p99 1239.65 ms, max 7300.76 ms")
WRONG = Claim("same chunk boundaries", False, "17 answers, 13370 chunks, twice: 34 differences")

ENDS = [
    ((RIGHT,), (), 0),
    ((RIGHT, LATE), (), 0),
    ((RIGHT, LATE), ("--strict",), 1),
    ((RIGHT,), ("--strict",), 0),
    ((RIGHT, WRONG), (), 1),
    ((WRONG, LATE), ("--strict",), 1),
]


@pytest.fixture
def read_demo(read: Read, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Read:
    """`demo` on a machine on which these claims hold or not: the first argument."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def run(claims: tuple[Claim, ...], *flags: str) -> object:
        def measured(cassette: Path) -> list[Claim]:
            tape(cassette, "hello")
            return list(claims)

        monkeypatch.setattr(demo, "rehearse", measured)
        return read("demo", *flags)

    return run  # type: ignore[return-value]  # as `read`, with the claims before its words


@pytest.mark.parametrize(("claims", "flags", "code"), ENDS)
def test_a_busy_machine_is_a_warning(
    read_demo: Read, claims: tuple[Claim, ...], flags: tuple[str, ...], code: int
) -> None:
    """What is wrong fails, what is late fails with --strict alone, and is said."""
    ran = read_demo(claims, *flags)
    assert ran.code == code
    assert ("late: this machine is busy" in ran.out) == (LATE in claims)
    assert max(map(len, ran.out.splitlines())) <= 80


def test_it_ends_with_what_to_type_next(read_demo: Read, read: Read, tmp_path: Path) -> None:
    """And that works: the cassette is still there."""
    ran = read_demo((RIGHT,))
    steps = [shlex.split(line.removeprefix("Next:")) for line in ran.err.splitlines() if "replay" in line]
    assert [step[-1] if "--speed" not in step else step[-3] for step in steps] == [steps[0][-1]] * 3
    verbs = [step[-2] if "--speed" not in step else step[-4] for step in steps]
    assert verbs == ["ls", "show", "replay"]
    kept = Path(steps[0][-1])
    assert kept.is_relative_to(tmp_path)
    assert read("ls", kept).code == 0


def test_a_kept_cassette_replaces_nothing(read_demo: Read, tmp_path: Path) -> None:
    """What is there stays."""
    there = tmp_path / "mine.txt"
    there.write_text("mine")
    ran = read_demo((RIGHT,), "--keep", str(there))
    assert (ran.code, there.read_text()) == (2, "mine")
    assert read_demo((RIGHT,), "--keep", str(tmp_path / "new.cassette")).code == 0
    assert (tmp_path / "new.cassette").exists()
