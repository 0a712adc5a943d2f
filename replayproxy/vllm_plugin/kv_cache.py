"""The KV cache that the engine believes it has: specifications of its layers, and how many bytes there are for it.

vLLM's scheduler, prefix cache and preemption need blocks to count; no memory is allocated. Every layer counts as full
attention: a sliding window or a state-space layer would need fewer blocks. Imports vLLM.
"""

from __future__ import annotations

from typing import Any

from replayproxy.vllm_plugin.variables import EngineVariables

DEFAULT_BYTES = 4 * 2**30
"""What vLLM's CPU backend takes where nothing is said."""


def layer_specs(vllm_config: Any) -> dict[str, Any]:
    """Return vLLM's specification of the cache of each layer, by the name of the layer."""
    from vllm.v1.kv_cache_interface import FullAttentionSpec

    model, parallel, cache = vllm_config.model_config, vllm_config.parallel_config, vllm_config.cache_config
    spec = FullAttentionSpec(
        block_size=cache.block_size or 16,
        num_kv_heads=model.get_num_kv_heads(parallel),
        head_size=model.get_head_size(),
        dtype=model.dtype,
    )
    return {f"model.layers.{number}.self_attn.attn": spec for number in range(model.get_num_layers(parallel))}


def cache_bytes(vllm_config: Any) -> int:
    """Return the size of the cache: of --kv-cache-memory-bytes or VLLM_CPU_KVCACHE_SPACE, else 4 GiB."""
    return int(vllm_config.cache_config.kv_cache_memory_bytes or DEFAULT_BYTES)


def block_bytes(vllm_config: Any) -> int:
    """Return how many bytes a block has over all layers: what a prefill hands over per block."""
    return sum(int(spec.page_size_bytes) for spec in layer_specs(vllm_config).values())


def fault_in_roles(vllm_config: Any, variables: EngineVariables) -> str | None:
    """Return why the variables and the flags of the engine contradict each other, as a sentence; None if they do not.

    The other mock model is told its role by PREFILL_PROCESS and KV_CACHE_MODE; here the connector knows it.
    """
    transfer = vllm_config.kv_transfer_config
    if variables.needs_kv_transfer and transfer is None:
        return (
            "KV_CACHE_MODE is set, and this engine hands nothing over: give it --kv-transfer-config, or unset the"
            " variable"
        )
    role = None if transfer is None else transfer.kv_role
    if variables.is_prefill and role not in ("kv_producer", "kv_both"):
        return f"PREFILL_PROCESS is set, and kv_role of this engine is {role}: it must be kv_producer or kv_both"
    if variables.is_prefill is False and role == "kv_producer":
        return "PREFILL_PROCESS is 0, and kv_role of this engine is kv_producer: one of the two is wrong"
    return None
