"""pre-commit itself takes `examples/pre-commit/`, and refuses a commit with a secret.

It is `live` because pre-commit comes from a registry, and installs replayproxy with what it needs from there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.examples.folders import EXAMPLES, ROOT
from tests.examples.leaking import SECRET, leaking
from tests.live.registries import site_packages
from tests.processes import environment

PATIENCE = 600.0
"""Seconds for a hook's first run: it installs."""

NOBODY = ("-c", "user.name=Nobody", "-c", "user.email=nobody@localhost")
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A command in a folder; pre-commit's own cache is the test's, not the user's."""
    told = environment() | {
        "PYTHONPATH": str(site_packages("pre-commit", Path(__file__).with_name("pre-commit.txt"))),
        "PRE_COMMIT_HOME": str(tmp_path / "cache"),
        "GIT_CONFIG_GLOBAL": "/dev/null",
    }

    def ran(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=folder, env=told, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    return ran


@pytest.fixture
def publisher(tmp_path: Path, run: Run) -> Path:
    """A repository of replayproxy as it is here, with the tag that the example names."""
    folder = tmp_path / "replayproxy"
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "replayproxy", folder / "replayproxy", ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", *NOBODY]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "All of it"], ["tag", "v0.1.0"]):
        assert run(folder, *git, *words).returncode == 0, words
    return folder


def test_a_commit_with_a_secret_is_refused(tmp_path: Path, publisher: Path, run: Run) -> None:
    """A clean cassette passes, one with a secret does not, and pre-commit shows what was found."""
    folder = tmp_path / "project"
    (folder / "tests").mkdir(parents=True)
    config = (EXAMPLES / "pre-commit" / ".pre-commit-config.yaml").read_text()
    (folder / ".pre-commit-config.yaml").write_text(
        config.replace("https://github.com/OWNER/replayproxy", publisher.as_uri())
    )
    shutil.copy(EXAMPLES / "shell" / "chat.cassette", folder / "tests")
    run(folder, "git", "init", "-q")
    pre_commit = (sys.executable, "-m", "pre_commit", "run", "replayproxy-secrets", "--all-files")

    run(folder, "git", "add", "-A")
    ran = run(folder, *pre_commit)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Passed" in ran.stdout

    leaking(folder / "tests" / "leaking.cassette")
    run(folder, "git", "add", "-A")
    ran = run(folder, *pre_commit)
    assert ran.returncode == 1
    assert "exit code: 6" in ran.stdout
    assert "tests/leaking.cassette" in ran.stdout
    assert SECRET[-16:] not in ran.stdout
