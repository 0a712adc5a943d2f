"""Tests of the plugin of sqlite-utils, through its own command and its own library, found by the entry point."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.processes import environment

GOLDEN = Path(__file__).parents[2] / "cassettes" / "format-2.cassette"


def test_the_command_reads_prompts_and_answers() -> None:
    """Nothing but the installation is needed."""
    query = "select rp_prompt(number) as prompt, rp_text(number) as answer from v_exchange where number = 1"
    ran = subprocess.run(
        [sys.executable, "-m", "sqlite_utils", GOLDEN, query],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=True,
    )
    (row,) = json.loads(ran.stdout)
    assert row["prompt"] == "Hello."
    assert row["answer"].startswith(" {!ac")


def test_other_files_are_as_they_were(tmp_path: Path) -> None:
    """The plugin does nothing there."""
    ran = subprocess.run(
        [sys.executable, "-m", "sqlite_utils", tmp_path / "other.db", "select 1 as one"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=True,
    )
    assert json.loads(ran.stdout) == [{"one": 1}]
