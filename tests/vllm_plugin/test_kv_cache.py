"""The KV cache that the engine believes it has."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from replayproxy.vllm_plugin import kv_cache
from replayproxy.vllm_plugin.variables import EngineMode, EngineVariables
from tests.doubles import vllm_double
from tests.doubles.vllm_double import configuration


def test_blocks_have_the_size_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and values of each head, layer by layer."""
    vllm_double.install(monkeypatch)
    config = configuration()
    assert list(kv_cache.layer_specs(config)) == [f"model.layers.{number}.self_attn.attn" for number in range(4)]
    assert kv_cache.block_bytes(config) == 4 * 2 * 2 * 16 * 2 * 64


def test_its_size_is_what_vllm_was_told() -> None:
    """--kv-cache-memory-bytes, which VLLM_CPU_KVCACHE_SPACE sets too; nothing is allocated."""
    assert kv_cache.cache_bytes(configuration()) == 4 * 2**30
    small = SimpleNamespace(block_size=16, kv_cache_memory_bytes=1000)
    assert kv_cache.cache_bytes(configuration(cache_config=small)) == 1000


@pytest.mark.parametrize(
    ("role", "needs", "is_prefill", "said"),
    [
        (None, False, None, None),
        (None, True, None, "give it --kv-transfer-config"),
        (None, False, True, "kv_role of this engine is None: it must be"),
        ("kv_producer", True, True, None),
        ("kv_both", True, True, None),
        ("kv_consumer", True, True, "kv_role of this engine is kv_consumer: it must be kv_producer or kv_both"),
        ("kv_producer", True, False, "PREFILL_PROCESS is 0"),
        ("kv_consumer", True, None, None),
    ],
)
def test_the_roles_must_agree(role: str | None, needs: bool, is_prefill: bool | None, said: str | None) -> None:
    """What the variables of the other mock model say, and what the connector was told."""
    transfer = None if role is None else SimpleNamespace(kv_role=role)
    variables = EngineVariables(EngineMode.REPLAY, (Path("a"),), needs_kv_transfer=needs, is_prefill=is_prefill)
    fault = kv_cache.fault_in_roles(configuration(kv_transfer_config=transfer), variables)
    assert fault is None if said is None else said in (fault or "")
