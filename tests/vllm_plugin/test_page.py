"""docs/vllm-plugin.md says what is so: its tests exist, and each variable has its row."""

from __future__ import annotations

import re
from pathlib import Path

from replayproxy.vllm_plugin.variables import ALIASES, OWN_VARIABLES, WITHOUT_EFFECT
from tests.docs.pages import section

PAGE = "docs/vllm-plugin.md"
TESTS = Path(__file__).parents[1]


def test_every_test_that_it_names_exists() -> None:
    """And every row of the table has one."""
    table = section(PAGE, "From the mock model for NPUs")
    named = set(re.findall(r"`(test_\w+)`", table))
    files = [*TESTS.glob("vllm_plugin/*.py"), *TESTS.glob("live/*.py")]
    defined = {name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)}
    assert named - defined == set()
    rows = re.findall(r"^\| (?!---|there)(.*) \|$", table, re.MULTILINE)
    assert len(rows) == 15
    assert [row for row in rows if "`test_" not in row.rpartition(" | ")[2]] == []


def test_every_variable_has_its_row() -> None:
    """Ours, and those of the mock model for NPUs."""
    table = section(PAGE, "Variables")
    names = {*OWN_VARIABLES, *ALIASES, *WITHOUT_EFFECT, "FORWARD_TIME", "SIMULATE_ELAPSED_TIME", "MOCK_COMPUTE_LOGITS"}
    names |= {"MOCK_CAPTURE_DIR", "MOCK_CAPTURE_FILE", "KV_CACHE_MODE", "PREFILL_PROCESS"}
    assert {name for name in names if f"`{name}`" not in table} == set()
    assert set(re.findall(r"`([A-Z_]{6,})`", table)) == names
