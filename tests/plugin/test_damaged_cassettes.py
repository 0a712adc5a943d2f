"""A test-suite whose cassettes are damaged: its tests fail with a sentence, and the run goes on to its end.

The damage is drawn from a seed (`tests/damage.py`). More of it than `make test` has time for: `tests/fuzz_damage.py`.
"""

from __future__ import annotations

from pathlib import Path

from tests.fuzz_damage import Findings, run_plugin, sources

FILES = 10


def test_a_run_of_pytest_on_damaged_cassettes(tmp_path: Path) -> None:
    """No exception but a failure of pytest's own or an assertion, no traceback of ours, no internal error."""
    (tmp_path / "sources").mkdir()
    findings = Findings()
    run_plugin(range(FILES), sources(tmp_path / "sources"), tmp_path / "suite", findings)
    assert findings.wrong == []
    assert (findings.calls, findings.codes) == (FILES, {1: 1})
