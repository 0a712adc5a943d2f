"""Rows of the table of settings. The state of the simulator: adapters, KV cache, events and metrics.

Names, defaults and meanings are those of vLLM and of llm-d-inference-sim, where they have the setting.
"""

from __future__ import annotations

from replayproxy.setting_kinds import Choice, Flag, Json, Latency, Text, Whole
from replayproxy.setting_table.row import Setting

_VERBS = ("simulate",)
_ALSO_REPLAYED = (*_VERBS, "replay")

ROWS = (
    # Adapters
    Setting(
        "lora_modules",
        Json(),
        'LoRA adapter to begin with: {"name": "sql", "path": "/sql"}. May be repeated, or take several.',
        verbs=_VERBS,
        group="state",
        is_repeatable=True,
        metavar="JSON",
        goes_to="simulation.state.lora_modules",
    ),
    Setting(
        "max_loras",
        Whole(least=1),
        "Adapters whose requests run at the same time; requests of others wait.",
        verbs=_VERBS,
        group="state",
        default=1,
        goes_to="simulation.state.max_loras",
    ),
    Setting(
        "max_cpu_loras",
        Whole(least=1),
        "Adapters in the memory of the CPU, at least --max-loras. Has no further effect.",
        verbs=_VERBS,
        group="state",
        goes_to="simulation.state.max_cpu_loras",
    ),
    # KV cache
    Setting(
        "enable_kvcache",
        Flag(),
        "Simulate prefix caching: what is cached shortens prefills, and shows in usage and metrics.",
        verbs=_VERBS,
        group="state",
        default=False,
        goes_to="simulation.state.enable_kvcache",
    ),
    Setting(
        "kv_cache_size",
        Whole(least=1, most=10_000_000),
        "Blocks of the KV cache.",
        verbs=_ALSO_REPLAYED,
        group="state",
        meanings={"replay": "Blocks of the KV cache whose usage --server-metrics computed shows."},
        default=1024,
        goes_to="simulation.state.kv_cache_size",
    ),
    Setting(
        "block_size",
        Whole(least=8, most=128),
        "Tokens of a block: 8, 16, 32, 64 or 128.",
        verbs=_ALSO_REPLAYED,
        group="state",
        default=16,
        goes_to="simulation.state.block_size",
    ),
    Setting(
        "prefix_caching_hash_algo",
        Choice(("sha256_cbor", "fnv64a_cbor")),
        "Hashes of blocks: those of vLLM, or those of llm-d-inference-sim.",
        verbs=_VERBS,
        group="state",
        default="sha256_cbor",
        goes_to="simulation.state.hash_algorithm",
    ),
    Setting(
        "hash_seed",
        Text(),
        "Seed of these hashes; without it PYTHONHASHSEED, as in vLLM.",
        verbs=_VERBS,
        group="state",
        goes_to="simulation.state.hash_seed",
    ),
    # Events
    Setting(
        "zmq_endpoint",
        Text(),
        "Publish events of the KV cache here: connects, or binds where there is a *, such as tcp://*:5557.",
        verbs=_ALSO_REPLAYED,
        group="state",
        meanings={
            "replay": "Publish the recorded KV events here at their moments: connects, or binds where there is a *."
        },
        metavar="ENDPOINT",
        goes_to="simulation.state.zmq_endpoint",
    ),
    Setting(
        "event_batch_size",
        Whole(least=1),
        "Most events of a message; what is pending goes out after a second.",
        verbs=_VERBS,
        group="state",
        default=16,
        goes_to="simulation.state.event_batch_size",
    ),
    Setting(
        "kv_events_format",
        Choice(("map", "array")),
        "Encoding of events: map as vLLM 0.32, array as older ones and llm-d-inference-sim.",
        verbs=_VERBS,
        group="state",
        default="map",
        goes_to="simulation.state.event_format",
    ),
    Setting(
        "kv_events_topic",
        Text(),
        "Topic of events. Without it kv@ADDRESS:PORT@MODEL, ADDRESS from POD_IP.",
        verbs=_VERBS,
        group="state",
        goes_to="simulation.state.event_topic",
    ),
    Setting(
        "kv_events_replay_endpoint",
        Text(),
        "Bind here, and send events again to those who have missed some.",
        verbs=_ALSO_REPLAYED,
        group="state",
        metavar="ENDPOINT",
        goes_to="simulation.state.replay_endpoint",
    ),
    Setting(
        "kv_events_replay_queue_size",
        Whole(least=1),
        "Messages that are kept for this.",
        verbs=_ALSO_REPLAYED,
        group="state",
        default=1024,
        goes_to="simulation.state.replay_batches",
    ),
    Setting(
        "data_parallel_size",
        Whole(least=1, most=8),
        "Serve so many ranks on the ports from --port on, each with its own queue, cache and metrics.",
        verbs=_VERBS,
        group="state",
        default=1,
        in_python=False,
    ),
    Setting(
        "data_parallel_rank",
        Whole(least=0, most=7),
        "Rank of this engine: the label engine of metrics, the rank of events, and added to their ports.",
        verbs=_VERBS,
        group="state",
        default=0,
        goes_to="simulation.state.rank",
    ),
    # Metrics
    Setting(
        "metrics_of",
        Choice(("0.32", "0.9")),
        "The vLLM whose metrics are served: 0.9 has gpu_cache_usage_perc.",
        verbs=_ALSO_REPLAYED,
        group="state",
        meanings={"replay": "The vLLM whose metrics --server-metrics computed serves."},
        default="0.32",
        goes_to="simulation.state.metrics_of",
    ),
    Setting(
        "fake_metrics",
        Json(),
        'Serve these metrics instead of measured ones: {"running-requests": 10, "kv-cache-usage": "ramp:0:1:60s"}.',
        verbs=_VERBS,
        group="state",
        metavar="JSON",
        goes_to="simulation.state.fake_metrics",
    ),
    Setting(
        "fake_metrics_refresh_interval",
        Latency(),
        "How often their functions of time are computed anew.",
        verbs=_VERBS,
        group="state",
        default="100ms",
        goes_to="simulation.state.fake_metrics_refresh_interval",
    ),
    Setting(
        "replicas",
        Whole(least=1),
        "Serve a total of 100 divided by so many replicas, as AIBrix's mocked vLLM does.",
        verbs=_VERBS,
        group="state",
        goes_to="simulation.state.replicas",
    ),
    Setting(
        "metrics_overrides",
        Json(),
        'Values of metrics to begin with, as POST /set_metrics takes them: {"running": 7}.',
        verbs=_VERBS,
        group="state",
        metavar="JSON",
        goes_to="simulation.state.metrics_overrides",
    ),
)
