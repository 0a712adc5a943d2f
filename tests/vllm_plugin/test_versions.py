"""Which versions of vLLM are warned of."""

from __future__ import annotations

import pytest

from replayproxy.vllm_plugin.versions import TESTED, warning_for


@pytest.mark.parametrize("version", ["0.32.0", "0.32.1+cpu", "0.32.0rc1"])
def test_a_tested_version_is_used_in_silence(version: str) -> None:
    """Whatever was built from it."""
    assert warning_for(version) is None


@pytest.mark.parametrize("version", ["0.31.9", "0.33.0", "1.32.0", "dev", "0.320.0"])
def test_another_version_is_warned_of(version: str) -> None:
    """With its number and the tested ones."""
    warning = warning_for(version) or ""
    assert warning.startswith(f"vLLM {version} was not tested with this executor, only {TESTED[0]}.*")
