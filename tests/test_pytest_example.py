"""`examples/pytest/` passes as it stands, from its cassette; and records itself anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.plugin.suites import simulator

FOLDER = Path(__file__).parent.parent / "examples" / "pytest"


@pytest.fixture
def example(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A copy of it."""
    for name in ("CI", "PYTEST_ADDOPTS", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(FOLDER, pytester.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return pytester


def test_it_passes_without_a_network(example: pytest.Pytester) -> None:
    """Every recording is asked for."""
    ran = example.runpytest_subprocess("-p", "no:cacheprovider", "--replayproxy-block-network")
    ran.assert_outcomes(passed=3)
    ran.stdout.fnmatch_lines(["4 served, 0 missed, 0 unused in 1 cassette"])


def test_it_can_be_recorded_anew(example: pytest.Pytester) -> None:
    """From `replayproxy simulate --model tiny`, as its README says."""
    (cassette,) = (example.path / "cassettes").iterdir()
    before = cassette.read_bytes()
    with simulator() as upstream:
        record = ("--replayproxy-mode", "all", "--replayproxy-upstream", upstream)
        example.runpytest_subprocess("-p", "no:cacheprovider", *record).assert_outcomes(passed=3)
    assert cassette.read_bytes() != before
    example.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=3)
