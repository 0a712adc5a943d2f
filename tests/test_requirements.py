"""What pyproject.toml admits: bounds that hold, versions of Python that are tried, locks within the bounds."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.lowest import direct, pinned

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCKS = (ROOT / "requirements.lock").read_text("utf-8") + (ROOT / "requirements-dev.lock").read_text("utf-8")


def _name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


LOCKED = {
    _name(requirement.name): Version(next(iter(requirement.specifier)).version)
    for line in LOCKS.splitlines()
    if line and not line.startswith("#")
    for requirement in [Requirement(line)]
}


@pytest.mark.parametrize("requirement", list(direct(PROJECT)))
def test_each_requirement_has_a_lower_bound_that_can_be_installed(requirement: str) -> None:
    """`make lowest` pins it to exactly that; the lock is not older."""
    admitted = Requirement(requirement)
    lowest = Version(next(iter(Requirement(pinned(requirement)).specifier)).version)
    assert admitted.specifier.contains(lowest)
    assert admitted.specifier.contains(LOCKED[_name(admitted.name)])


@pytest.mark.parametrize("requirement", ["click", "click<9", "click!=8.3", "click @ https://example.com/click.whl"])
def test_a_requirement_without_a_lower_bound_is_named(requirement: str) -> None:
    """Nobody could try the lowest version of it."""
    with pytest.raises(ValueError, match=r"click.*has no lower bound"):
        pinned(requirement)


def test_markers_survive() -> None:
    """uvloop is not for Windows, in the lowest version either."""
    assert pinned("uvloop>=0.22.1; sys_platform != 'win32'") == "uvloop==0.22.1; sys_platform != 'win32'"
    assert pinned("sqlite-utils>=4.2,<5") == "sqlite-utils==4.2"


def test_the_classifiers_say_which_pythons() -> None:
    """From the one that `requires-python` names on, without a gap; what runs this test is among them."""
    lowest = int(PROJECT["project"]["requires-python"].removeprefix(">=3."))
    named = [
        int(found[1])
        for line in PROJECT["project"]["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: 3\.(\d+)", line))
    ]
    assert named == list(range(lowest, lowest + len(named)))
    assert sys.version_info.minor in named


def test_the_pythons_of_this_machine_are_found() -> None:
    """A path per line, each once, each of the versions that are admitted, without the one that was named."""
    ran = subprocess.run([ROOT / ".ci" / "pythons", sys.executable], capture_output=True, text=True, check=True)
    versions = [
        subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
        for path in ran.stdout.split()
    ]
    minors = [int(version.split(".")[1]) for version in versions]
    assert minors == sorted(set(minors), reverse=True)
    assert sys.version_info.minor not in minors
    assert all(minor >= 11 for minor in minors)
