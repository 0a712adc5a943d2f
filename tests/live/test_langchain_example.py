"""`examples/langchain/` passes as it stands, from its cassette. It is `live` because LangChain comes from a registry.

37 packages, 76 MB, ten seconds once; kept in the user's cache.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.examples.folders import EXAMPLES, commands, copied, shell
from tests.live.registries import site_packages

REQUIREMENTS = EXAMPLES / "langchain" / "requirements.txt"
INSTALL, RUN = commands("langchain")[0].splitlines()
FLAGS = "-p no:cacheprovider --replayproxy-block-network"


@pytest.fixture
def packages() -> dict[str, str]:
    """LangChain for a child's Python, before what is installed here."""
    return {"PYTHONPATH": str(site_packages("langchain", REQUIREMENTS)), "PYTEST_ADDOPTS": FLAGS}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository with the example at its place."""
    copied("langchain", tmp_path / "examples")
    return tmp_path


def test_the_suite_passes_without_a_network(folder: Path, packages: dict[str, str]) -> None:
    """Every recording is asked for."""
    ran = shell(RUN, folder, **packages)
    assert ran.returncode == 0, ran.stdout
    assert "3 passed" in ran.stdout
    assert "4 served, 0 missed, 0 unused in 1 cassette" in ran.stdout


def test_a_changed_prompt_fails_its_test(folder: Path, packages: dict[str, str]) -> None:
    """And no other; the failure names the field."""
    code = folder / "examples" / "langchain" / "weather.py"
    code.write_text(code.read_text().replace("You tell short stories.", "You tell long stories."))
    ran = shell(RUN, folder, **packages)
    assert ran.returncode == 1
    assert "1 passed" in ran.stdout
    assert "$.messages[0].content" in ran.stdout


def test_the_requirements_are_exact() -> None:
    """The install command resolves nothing, so every line has to name a version, and the file all of them."""
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert INSTALL == "pip install --no-deps -r examples/langchain/requirements.txt"
