"""What a simulator's state is to be: its adapters, its KV cache, its events and its metrics, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from replayproxy.errors import SettingsError, setting
from replayproxy.setting_table import default

BLOCK_SIZES = (8, 16, 32, 64, 128)


@dataclass(frozen=True, slots=True)
class StateOptions:
    """Adapters, cache, events and metrics. Raises `SettingsError` where two of them do not fit together."""

    lora_modules: tuple[Mapping[str, Any], ...] = ()
    max_loras: int = default("max_loras")
    max_cpu_loras: int | None = None
    """vLLM keeps so many adapters in the CPU's memory. The simulator keeps all, so that this has no effect."""
    enable_kvcache: bool = default("enable_kvcache")
    kv_cache_size: int = default("kv_cache_size")
    block_size: int = default("block_size")
    hash_algorithm: str = default("prefix_caching_hash_algo")
    hash_seed: str | None = None
    zmq_endpoint: str | None = None
    """Where events are published, if there is a cache. None: nowhere."""
    replay_endpoint: str | None = None
    replay_batches: int = default("kv_events_replay_queue_size")
    event_batch_size: int = default("event_batch_size")
    event_format: str = default("kv_events_format")
    event_topic: str | None = None
    """None: `kv@ADDRESS:PORT@MODEL`."""
    rank: int = default("data_parallel_rank")
    metrics_of: str = default("metrics_of")
    fake_metrics: Mapping[str, Any] | None = None
    fake_metrics_refresh_interval: float = default("fake_metrics_refresh_interval")
    """Seconds."""
    replicas: int | None = None
    metrics_overrides: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.block_size not in BLOCK_SIZES:
            raise SettingsError(
                f"{setting('block_size', self.block_size)} is not a size of blocks: choose from"
                f" {', '.join(map(str, BLOCK_SIZES))}"
            )
        if self.max_cpu_loras is not None and self.max_cpu_loras < self.max_loras:
            raise SettingsError(
                f"{setting('max_cpu_loras', self.max_cpu_loras)} is less than {setting('max_loras', self.max_loras)}:"
                " adapters that run are also in the memory of the CPU"
            )
        if self.replay_endpoint is not None and self.zmq_endpoint is None:
            raise SettingsError(
                f"{setting('kv_events_replay_endpoint')} replays what {setting('zmq_endpoint')} publishes: give both"
            )

    def check_context(self, max_model_len: int) -> None:
        """Raise `SettingsError` where the cache cannot hold one longest request; vLLM refuses to start then too."""
        if self.enable_kvcache and self.kv_cache_size * self.block_size < max_model_len:
            raise SettingsError(
                f"{setting('kv_cache_size', self.kv_cache_size)} blocks of {self.block_size} tokens cannot hold a"
                f" request of {setting('max_model_len', max_model_len)}: give more blocks, or a shorter context"
            )
