"""The public names of the package, and the page about them: its blocks run in their order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import replayproxy
from tests.docs.pages import ROOT, blocks
from tests.processes import environment


@pytest.mark.parametrize("name", replayproxy.__all__)
def test_each_name_is_there(name: str) -> None:
    """With a docstring, and listed."""
    assert getattr(replayproxy, name).__doc__
    assert name in dir(replayproxy)


def test_another_name_is_not() -> None:
    """As in any module."""
    with pytest.raises(AttributeError, match="module 'replayproxy' has no attribute 'recrod'"):
        getattr(replayproxy, "recrod")  # noqa: B009  mypy knows that it is not there


def test_the_page_names_everything() -> None:
    """What is public is in the documentation."""
    page = (ROOT / "docs" / "python.md").read_text()
    explained = ("Upstream", "BadAnswer", "ClientError", "Ending", "Leg", "Request", "Response", "Timeline")
    missing = {name for name in replayproxy.__all__ if name not in page and not name.startswith(explained)}
    assert missing - {"Exchanges", "ProxyCall", "ProxyServer", "StreamEvent", "Usage"} == set()


def test_the_examples_of_the_page_run(tmp_path: Path) -> None:
    """As one program, in a folder of its own."""
    program = "\n".join(blocks("docs/python.md", "python"))
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("1 exchanges\n")
    assert {path.name for path in tmp_path.iterdir()} == {"chat.cassette", "made.cassette"}
