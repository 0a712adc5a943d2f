"""The pre-commit hook that `.pre-commit-hooks.yaml` offers, and `examples/pre-commit/`, which takes it.

Run here is what pre-commit would run, on the files that it would choose. That pre-commit itself does so is for
`tests/live/`, because it installs replayproxy from a registry for it.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.tapes import Read
from tests.examples.folders import EXAMPLES, ROOT, understood
from tests.examples.leaking import SECRET, leaking

SHELL = EXAMPLES / "shell"
CONFIG: Any = yaml.safe_load((EXAMPLES / "pre-commit" / ".pre-commit-config.yaml").read_text())
OFFERED: dict[str, Any] = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}


@pytest.fixture
def hook() -> dict[str, Any]:
    """The one that the example takes, as pre-commit sees it."""
    ((taken,),) = (repository["hooks"] for repository in CONFIG["repos"])
    return {**OFFERED[taken["id"]], **taken}


@pytest.fixture
def words(hook: dict[str, Any]) -> list[str]:
    """What it runs, without the files."""
    program, *words = shlex.split(hook["entry"])
    assert program == "replayproxy"
    return [*words, *hook.get("args", [])]


def test_the_example_takes_what_is_offered(hook: dict[str, Any]) -> None:
    """Its version is this one's, and pre-commit knows how to install it."""
    (repository,) = CONFIG["repos"]
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert repository["rev"] == f"v{version[1]}"
    assert hook["language"] == "python"
    assert {"id", "name", "entry", "language"} <= set(hook)


@pytest.mark.parametrize(
    ("name", "chosen"),
    [("tests/chat.cassette", True), ("chat.cassette-wal", False), ("cassette", False), ("a.cassette.md", False)],
)
def test_it_looks_at_cassettes_alone(hook: dict[str, Any], name: str, chosen: bool) -> None:
    """pre-commit searches a path for the pattern."""
    assert bool(re.search(hook["files"], name)) is chosen


def test_a_clean_cassette_may_be_committed(words: list[str], read: Read) -> None:
    """Exit code 0, and the file is as it was."""
    cassette = SHELL / "chat.cassette"
    before = cassette.read_bytes()
    assert read(*words, cassette).code == 0
    assert cassette.read_bytes() == before


def test_a_secret_may_not(words: list[str], read: Read, tmp_path: Path) -> None:
    """Exit code 6 for all files of a commit, when one of them holds one; it is not repeated on the screen."""
    ran = read(*words, SHELL / "chat.cassette", leaking(tmp_path / "leaking.cassette"))
    assert ran.code == 6
    assert "leaking.cassette" in ran.out + ran.err
    assert SECRET[-16:] not in ran.out + ran.err


def test_what_the_hook_refuses_can_be_mended(words: list[str], read: Read, tmp_path: Path) -> None:
    """By the command that the example's README gives."""
    cassette = leaking(tmp_path / "leaking.cassette")
    assert read("redact", cassette).code == 0
    assert read(*words, cassette).code == 0


def test_a_rule_of_the_house_is_an_argument(hook: dict[str, Any], words: list[str], read: Read) -> None:
    """The commented line, uncommented."""
    text = (EXAMPLES / "pre-commit" / ".pre-commit-config.yaml").read_text()
    (args,) = re.findall(r"# args: (\[.+\])", text)
    understood([*words, *yaml.safe_load(args), str(SHELL / "chat.cassette")])
    assert read(*words, "--redact", "re:story", SHELL / "chat.cassette").code == 6
