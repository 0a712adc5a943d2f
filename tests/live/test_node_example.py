"""`examples/node/` passes as it stands, from its cassette. It is `live` because its package comes from npm."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.examples.folders import commands, copied, shell
from tests.live.registries import node_modules

INSTALL, RUN = commands("node")[0].splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example, its packages installed."""
    folder = copied("node", tmp_path)
    (folder / "node_modules").symlink_to(node_modules())
    return folder


def test_the_suite_passes_without_a_server(folder: Path) -> None:
    """Every recording is asked for."""
    assert INSTALL == "npm ci"
    ran = shell(RUN, folder)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"^(#|ℹ) pass 3$", ran.stdout, re.MULTILINE), ran.stdout  # Node 20's way, Node 24's way
    assert "5 answers from recordings, no misses" in ran.stderr


def test_a_changed_prompt_fails_the_suite(folder: Path) -> None:
    """By the code of npm; the report names the request's field and what it was."""
    suite = folder / "test" / "chat.test.js"
    suite.write_text(suite.read_text().replace("an umbrella", "a parasol"))
    ran = shell(RUN, folder)
    assert ran.returncode == 1
    assert "$.messages[0].content" in ran.stderr
    assert "a parasol" in ran.stderr


def test_the_lock_names_no_registry(folder: Path) -> None:
    """Versions and digests: whoever installs says from where."""
    assert "resolved" not in (folder / "package-lock.json").read_text()
