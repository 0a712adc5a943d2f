"""The keywords of `replay`, `record`, `auto` and `simulate`, for type checkers.

Written from the table of settings by `make reference`. Do not edit it. Names and meanings are those of the flags of the
command line, with `_` for `-`. Durations are seconds, or text such as `25s`; sizes are bytes, or text such as `10MiB`.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Literal, TypedDict

AnyPath = str | PathLike[str]


class RecordOptions(TypedDict, total=False):
    """The keywords of `record`."""

    upstream: str
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
    durability: Literal["normal", "full"]
    keep_header: Sequence[str]
    drop_header: Sequence[str]
    probe: bool
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
    upstream_timeout: float | str
    stall_timeout: float | str
    wait_upstream: float | str
    on_miss: Literal["refuse", "forward", "record"]
    at_end: Literal["cycle", "last", "refuse"]
    speed: float | Literal["max"] | None
    allow_incomplete: bool
    stall: float | str
    cors: Sequence[str]
    seed: int
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


class AutoOptions(TypedDict, total=False):
    """The keywords of `auto`."""

    upstream: str
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

    ttft: float | str
    itl: float | str
    jitter: float
    seed: int
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
