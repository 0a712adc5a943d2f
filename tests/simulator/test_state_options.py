"""Options of the state that do not fit together are refused with the names of their settings."""

from __future__ import annotations

from typing import Any

import pytest

from replayproxy.errors import SettingsError
from replayproxy.simulator.state_options import StateOptions


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"block_size": 20}, "--block-size 20 is not a size of blocks: choose from 8, 16, 32, 64, 128"),
        ({"max_loras": 4, "max_cpu_loras": 2}, "--max-cpu-loras 2 is less than --max-loras 4"),
        ({"replay_endpoint": "tcp://*:5558"}, "--kv-events-replay-endpoint replays what --zmq-endpoint publishes"),
    ],
)
def test_options_that_do_not_fit_together(options: dict[str, Any], words: str) -> None:
    """Each names the other one."""
    with pytest.raises(SettingsError) as refused:
        StateOptions(**options)
    assert words in str(refused.value)


def test_a_cache_holds_a_longest_request() -> None:
    """If there is one."""
    StateOptions(kv_cache_size=1).check_context(1024)
    StateOptions(enable_kvcache=True, kv_cache_size=64).check_context(1024)
    with pytest.raises(SettingsError, match=r"--kv-cache-size 63 blocks of 16 tokens.*--max-model-len 1024"):
        StateOptions(enable_kvcache=True, kv_cache_size=63).check_context(1024)
