"""The keywords of `replay`, `record`, `auto` and `simulate`, for type checkers.

Written from the table of settings by `make reference`. Do not edit it. Names and meanings are those of the flags of the
command line, with `_` for `-`. Durations are seconds, or text such as `25s`; sizes are bytes, or text such as `10MiB`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypedDict

AnyPath = str | PathLike[str]


class RecordOptions(TypedDict, total=False):
    """The keywords of `record`."""

    upstream: str
    set_upstream_header: Sequence[str]
    upstream_timeout: float | str
    stall_timeout: float | str
    wait_upstream: float | str
    prefill: Sequence[str]
    decode: Sequence[str]
    pd: Literal["plain", "nixl", "transfer-id", "addr-id", "bootstrap-room"]
    on_prefill_error: Literal["fail", "decode"]
    pd_params: Literal["six", "two"]
    pd_remote_host: Literal["keep", "url"]
    prefill_kv: Sequence[str]
    decode_kv: Sequence[str]
    bootstrap_port: int
    include: Sequence[str]
    exclude: Sequence[str]
    sample: float
    on_full: Literal["drop", "block"]
    queue_bytes: int | str
    rotate: str
    keep: int
    max_size: int | str
    min_free: int | str
    replica: str
    window: float | str
    keep_on: Sequence[str]
    keep_after: float | str
    window_size: int | str
    durability: Literal["normal", "full"]
    keep_header: Sequence[str]
    drop_header: Sequence[str]
    probe: bool
    scrape_metrics: float | str
    kv_events: Sequence[str]
    redact: Sequence[str]
    match: Literal["default", "exact"]
    match_ignore: Sequence[str]
    match_normalise: Sequence[str]
    match_header: Sequence[str]
    match_defaults: bool
    match_from: Literal["cassette", "flags"]
    host: str
    port: int
    uds: AnyPath
    admin_host: str
    admin_port: int | Literal["off"] | None
    admin_allowed_host: Sequence[str]
    admin_token_file: AnyPath
    api_key_file: AnyPath
    ssl_keyfile: AnyPath
    ssl_certfile: AnyPath
    drain: float | str
    header_timeout: float | str
    body_timeout: float | str
    idle_timeout: float | str
    send_timeout: float | str
    max_connections: int
    max_body: int | str
    ready_file: AnyPath


class ReplayOptions(TypedDict, total=False):
    """The keywords of `replay`."""

    upstream: str
    set_upstream_header: Sequence[str]
    upstream_timeout: float | str
    stall_timeout: float | str
    wait_upstream: float | str
    on_miss: Literal["refuse", "forward", "record", "simulate"]
    at_end: Literal["cycle", "last", "refuse"]
    speed: float | Literal["max"] | None
    allow_incomplete: bool
    stall: float | str
    rechunk: str
    server_metrics: Literal["recorded", "computed"]
    carry: bool
    cors: Sequence[str]
    fail: Sequence[str]
    fail_header: bool
    rpm: int
    tpm: int
    redact: Sequence[str]
    match: Literal["default", "exact"]
    match_ignore: Sequence[str]
    match_normalise: Sequence[str]
    match_header: Sequence[str]
    match_defaults: bool
    match_from: Literal["cassette", "flags"]
    host: str
    port: int
    uds: AnyPath
    admin_host: str
    admin_port: int | Literal["off"] | None
    admin_allowed_host: Sequence[str]
    admin_token_file: AnyPath
    api_key_file: AnyPath
    ssl_keyfile: AnyPath
    ssl_certfile: AnyPath
    drain: float | str
    header_timeout: float | str
    body_timeout: float | str
    idle_timeout: float | str
    send_timeout: float | str
    max_connections: int
    max_body: int | str
    ready_file: AnyPath
    seed: int
    kv_cache_size: int
    block_size: int
    zmq_endpoint: str
    kv_events_replay_endpoint: str
    kv_events_replay_queue_size: int
    metrics_of: Literal["0.32", "0.9"]


class AutoOptions(TypedDict, total=False):
    """The keywords of `auto`."""

    upstream: str
    set_upstream_header: Sequence[str]
    upstream_timeout: float | str
    stall_timeout: float | str
    wait_upstream: float | str
    prefill: Sequence[str]
    decode: Sequence[str]
    pd: Literal["plain", "nixl", "transfer-id", "addr-id", "bootstrap-room"]
    on_prefill_error: Literal["fail", "decode"]
    pd_params: Literal["six", "two"]
    pd_remote_host: Literal["keep", "url"]
    prefill_kv: Sequence[str]
    decode_kv: Sequence[str]
    bootstrap_port: int
    speed: float | Literal["max"] | None
    allow_incomplete: bool
    stall: float | str
    cors: Sequence[str]
    include: Sequence[str]
    exclude: Sequence[str]
    sample: float
    on_full: Literal["drop", "block"]
    queue_bytes: int | str
    durability: Literal["normal", "full"]
    keep_header: Sequence[str]
    drop_header: Sequence[str]
    probe: bool
    scrape_metrics: float | str
    kv_events: Sequence[str]
    redact: Sequence[str]
    match: Literal["default", "exact"]
    match_ignore: Sequence[str]
    match_normalise: Sequence[str]
    match_header: Sequence[str]
    match_defaults: bool
    match_from: Literal["cassette", "flags"]
    host: str
    port: int
    uds: AnyPath
    admin_host: str
    admin_port: int | Literal["off"] | None
    admin_allowed_host: Sequence[str]
    admin_token_file: AnyPath
    api_key_file: AnyPath
    ssl_keyfile: AnyPath
    ssl_certfile: AnyPath
    drain: float | str
    header_timeout: float | str
    body_timeout: float | str
    idle_timeout: float | str
    send_timeout: float | str
    max_connections: int
    max_body: int | str
    ready_file: AnyPath


class SimulateOptions(TypedDict, total=False):
    """The keywords of `simulate`."""

    fail: Sequence[str]
    fail_header: bool
    rpm: int
    tpm: int
    failure_injection_rate: int
    failure_types: Sequence[str]
    host: str
    port: int
    uds: AnyPath
    admin_host: str
    admin_port: int | Literal["off"] | None
    admin_allowed_host: Sequence[str]
    admin_token_file: AnyPath
    api_key_file: AnyPath
    ssl_keyfile: AnyPath
    ssl_certfile: AnyPath
    drain: float | str
    header_timeout: float | str
    body_timeout: float | str
    idle_timeout: float | str
    send_timeout: float | str
    max_connections: int
    max_body: int | str
    ready_file: AnyPath
    served_model_name: Sequence[str]
    max_model_len: int
    max_num_seqs: int
    max_waiting_queue_length: int
    api_key: Sequence[str]
    enable_prompt_tokens_details: bool
    default_embedding_dimensions: int
    created: Literal["fixed", "now"]
    seed: int
    answer_mode: Literal["random", "echo", "cassette"]
    answers_from: AnyPath
    random_text: Literal["sentences", "words"]
    answer_length: Literal["histogram", "max"]
    reasoning_tokens: int
    min_tool_call_integer_param: int
    max_tool_call_integer_param: int
    min_tool_call_number_param: float
    max_tool_call_number_param: float
    min_tool_call_array_param_length: int
    max_tool_call_array_param_length: int
    tool_call_not_required_param_probability: int
    object_tool_call_not_required_field_probability: int
    tool_call_extra_call_probability: int
    ttft: float | str
    itl: float | str
    jitter: float
    time_to_first_token: float | str
    time_to_first_token_std_dev: float | str
    inter_token_latency: float | str
    inter_token_latency_std_dev: float | str
    kv_cache_transfer_latency: float | str
    kv_cache_transfer_latency_std_dev: float | str
    prefill_overhead: float | str
    prefill_time_per_token: float | str
    prefill_time_std_dev: float | str
    kv_cache_transfer_time_per_token: float | str
    kv_cache_transfer_time_std_dev: float | str
    forward_time: float | str
    fit: AnyPath
    time_factor_under_load: float
    lora_modules: Sequence[Mapping[str, Any] | str]
    max_loras: int
    max_cpu_loras: int
    enable_kvcache: bool
    kv_cache_size: int
    block_size: int
    prefix_caching_hash_algo: Literal["sha256_cbor", "fnv64a_cbor"]
    hash_seed: str
    zmq_endpoint: str
    event_batch_size: int
    kv_events_format: Literal["map", "array"]
    kv_events_topic: str
    kv_events_replay_endpoint: str
    kv_events_replay_queue_size: int
    data_parallel_rank: int
    metrics_of: Literal["0.32", "0.9"]
    fake_metrics: Mapping[str, Any] | str
    fake_metrics_refresh_interval: float | str
    replicas: int
    metrics_overrides: Mapping[str, Any] | str
