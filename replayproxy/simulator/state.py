"""The state of a simulated server, put together: adapters, KV cache, events and metrics, and how an engine gets them.

StateOptions ──▶ SimulatedState ──▶ rules and listeners of the engine ──▶ attach(simulator): endpoints
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from replayproxy.errors import SettingsError, setting
from replayproxy.model import Response
from replayproxy.ports import Clock
from replayproxy.simulator.adapter_rule import AdapterRule
from replayproxy.simulator.adapters import AdapterRefused, Adapters
from replayproxy.simulator.block_hashes import BlockHashing
from replayproxy.simulator.engine_metrics import EngineMetrics
from replayproxy.simulator.fake_metrics import BadFakeMetrics
from replayproxy.simulator.kv_cache import CacheEvent, KvCache
from replayproxy.simulator.kv_events import EventLog
from replayproxy.simulator.kv_feed import EventPublisher, KvEventFeed
from replayproxy.simulator.kv_rule import KvCacheRule
from replayproxy.simulator.metric_overrides import BadOverride
from replayproxy.simulator.metrics import Labels, Metrics
from replayproxy.simulator.routes import ApiError, Call, Endpoint, Routes, whole_response
from replayproxy.simulator.served_metrics import ServedMetrics

if TYPE_CHECKING:
    from replayproxy.simulator.models import ServedModels
    from replayproxy.simulator.options import Simulation
    from replayproxy.simulator.simulator import Simulator


class SimulatedState:
    """All state of one server besides its queue."""

    def __init__(self, options: Simulation, clock: Clock) -> None:
        """Raises `SettingsError`."""
        state = options.state
        state.check_context(options.max_model_len)
        self.adapters = Adapters(options.names, state.max_loras)
        try:
            self.adapters.add(state.lora_modules)
        except AdapterRefused as error:
            raise SettingsError(f"{setting('lora_modules')} {error.message}") from error
        hashing = BlockHashing(state.hash_algorithm, state.hash_seed)
        cache = KvCache(state.kv_cache_size, state.block_size, hashing, shares=state.enable_kvcache)
        self.kv = KvCacheRule(cache, self.adapters, self._publish)
        metrics = Metrics(
            max_model_len=options.max_model_len,
            max_loras=state.max_loras,
            cache_config=cache_config(cache, state.hash_algorithm, options.max_model_len, state.rank),
            created=clock.today() / 1e9,
        )
        if state.lora_modules:
            metrics.adapters((), (), clock.today() / 1e9)
        self._measured = EngineMetrics(metrics, self.adapters, self.kv, clock)
        try:
            self.served = ServedMetrics(
                self._measured, state, clock, model=options.names[0], longest=options.max_model_len
            )
        except BadFakeMetrics as error:
            raise SettingsError(f"{setting('fake_metrics')} {error}") from error
        except BadOverride as error:
            raise SettingsError(f"{setting('metrics_overrides')} {error}") from error
        self.rules = (AdapterRule(self.adapters), self.kv)
        self.listeners = (self._measured,)
        self._state = state
        self._clock = clock
        self._feed: KvEventFeed | None = None

    def publish_to(self, publisher: EventPublisher) -> KvEventFeed:
        """Publish what changes in the cache from now on. Closed by `close`."""
        log = EventLog(
            encoding=self._state.event_format,
            rank=self._state.rank,
            batch_size=self._state.event_batch_size,
            kept=self._state.replay_batches,
        )
        self._feed = KvEventFeed(log, self._clock, publisher)
        return self._feed

    def attach(self, simulator: Simulator) -> None:
        """Follow this simulator, and add the endpoints of the state to it."""
        self._measured.engine = simulator.engine
        models = simulator.context.models
        self._show_adapters(models)
        simulator.context.sleep_state.followers.append(self._sleep)
        self.served.register(simulator.routes)
        self._register_adapters(simulator.routes, models)

    def close(self) -> None:
        """Publish what is pending."""
        if self._feed is not None:
            self._feed.close()

    def _publish(self, events: Sequence[CacheEvent]) -> None:
        if self._feed is not None:
            self._feed.take(events)

    def _sleep(self, level: int) -> None:
        self._measured.sleep_level = level
        if level:  # the weights leave the memory, and the cache with them
            self.kv.clear()

    def _show_adapters(self, models: ServedModels) -> None:
        models.adapters = {name: adapter.path for name, adapter in self.adapters.loaded.items()}

    def _register_adapters(self, routes: Routes, models: ServedModels) -> None:
        def endpoint_of(change: Callable[[Mapping[str, Any]], str]) -> Endpoint:
            def answer(call: Call) -> Response:
                if not isinstance(call.body, dict):
                    raise ApiError(400, "The body is not a JSON object.")
                try:
                    text = change(call.body)
                except AdapterRefused as error:
                    raise ApiError(error.status, error.message, type=error.type) from error
                self._show_adapters(models)
                return whole_response(text.encode())

            return answer

        def reset(_: Call) -> Response:
            self.kv.clear()
            return whole_response(b"")

        routes.add("POST", "/v1/load_lora_adapter", endpoint_of(self.adapters.load))
        routes.add("POST", "/v1/unload_lora_adapter", endpoint_of(self.adapters.unload))
        routes.add("POST", "/reset_prefix_cache", reset)


def cache_config(cache: KvCache, algorithm: str, max_model_len: int, rank: int) -> Labels:
    """The labels of `cache_config_info`: all that vLLM 0.32 has, with defaults for what the simulator has not."""
    tokens = cache.blocks * cache.block_size
    own = {
        "block_size": cache.block_size,
        "enable_prefix_caching": cache.shares,
        "engine": rank,
        "kv_cache_max_concurrency": tokens / max_model_len,
        "kv_cache_size_tokens": tokens,
        "num_gpu_blocks": cache.blocks,
        "prefix_caching_hash_algo": algorithm,
    }
    return tuple((name, str(value)) for name, value in sorted({**_CACHE_DEFAULTS, **own}.items()))


_CACHE_DEFAULTS: dict[str, object] = {
    "_block_size_resolved": True,
    "cache_dtype": "auto",
    "cache_hit_alignment_tokens": None,
    "effective_attention_block_size": None,
    "enable_mamba_shared_prefix_checkpoint": False,
    "gpu_memory_utilization": 0.92,
    "hash_block_size": None,
    "is_attention_free": False,
    "kv_cache_dtype_skip_layers": [],
    "kv_cache_layout": None,
    "kv_cache_memory_bytes": None,
    "kv_offloading_backend": "native",
    "kv_offloading_size": None,
    "kv_sharing_fast_prefill": False,
    "mamba_block_size": None,
    "mamba_cache_dtype": "auto",
    "mamba_cache_mode": "none",
    "mamba_page_size_padded": None,
    "mamba_ssm_cache_dtype": "auto",
    "num_cpu_blocks": None,
    "num_gpu_blocks_override": None,
    "prefix_cache_retention_interval": 0,
    "prefix_match_unit": None,
    "replayssm_buffer_len": 16,
    "skip_page_size_padded": None,
    "sliding_window": None,
    "swa_bounded_replay": True,
    "use_kda_recoverssm": False,
    "use_replayssm": False,
    "user_specified_block_size": False,
}
"""Read from the page of a running vLLM 0.32; consumers look for names of labels that all servers have."""
