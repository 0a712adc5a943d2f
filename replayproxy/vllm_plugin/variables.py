"""The settings of the engine's mock model, from environment variables: ours, and those of the vLLM mock model for NPUs.

vLLM starts the engine in a process of its own, so that there is no command line to read: variables are what reaches
it. Each variable of the other mock model is an alias of one of ours, or has no effect here and is accepted. Knows no
vLLM and no file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from replayproxy.errors import SettingsError
from replayproxy.setting_kinds import BadValue, Choice, Duration, Kind, Size, Speed, Whole


class EngineMode(Enum):
    """Where the engine's tokens come from."""

    REPLAY = "replay"
    CAPTURE = "capture"
    RANDOM = "random"


ALIASES = {"REPLAY_MODE": EngineMode.REPLAY, "CAPTURE_MODE": EngineMode.CAPTURE, "RANDOM_MODE": EngineMode.RANDOM}
"""Variables of the other mock model that choose a mode."""

WITHOUT_EFFECT = ("MOCK_CAPTURE_FILE_LOCK", "NO_NPU_MOCK", "TORCH_COMPILE_MODE_MOCK")
"""Variables of the other mock model that nothing is left to do for: SQLite locks, and there is neither a device nor a
compiled graph."""

OWN_VARIABLES = (
    "REPLAYPROXY_CASSETTE",
    "REPLAYPROXY_ENGINE_MODE",
    "REPLAYPROXY_FORWARD_TIME",
    "REPLAYPROXY_SPEED",
    "REPLAYPROXY_AT_END",
    "REPLAYPROXY_SEED",
    "REPLAYPROXY_SYNTHETIC_LOGPROBS",
    "REPLAYPROXY_TRANSFER_TIME",
    "REPLAYPROXY_TRANSFER_BANDWIDTH",
)

TRUE, FALSE = ("1", "true", "yes"), ("", "0", "false", "no")
"""The other mock model takes any text for true, also `0`."""

DEFAULT_CAPTURE_FILE = ".mock"
"""What the other mock model calls its file where only the folder is given."""


@dataclass(frozen=True, slots=True)
class EngineVariables:
    """The settings of one engine. Times are in nanoseconds."""

    mode: EngineMode
    cassettes: tuple[Path, ...] = ()
    """Read in this order; a capture has exactly one and writes to it. Random tokens need none."""
    forward_time: int = 0
    """The least duration of a step."""
    speed: float | None = None
    """None: no recorded time is kept; 1: as recorded; 2: twice as fast."""
    at_end: str = "cycle"
    """After the last recording of a prompt: `cycle` begins anew, `last` repeats it, `refuse` is a miss."""
    seed: int = 0
    synthetic_logprobs: bool = False
    """Make logprobs up where a recording has none."""
    transfer_time: int = 0
    """Of the KV cache from the prefill to the decode server, per request."""
    transfer_bandwidth: int = 0
    """Bytes per second; 0: no time per byte."""
    is_prefill: bool | None = None
    """What PREFILL_PROCESS says; None where it is not set."""
    needs_kv_transfer: bool = False
    """Whether KV_CACHE_MODE is set."""


def read_variables(environment: Mapping[str, str]) -> EngineVariables:
    """Return the settings. Raises `SettingsError`, which names the variable and a value that it may have."""
    mode = _mode(environment)
    forward_time = _one_of(environment, ("REPLAYPROXY_FORWARD_TIME", Duration()), ("FORWARD_TIME", _Milliseconds()))
    speed = _value(environment, "REPLAYPROXY_SPEED", Speed())
    if _is_on(environment, "SIMULATE_ELAPSED_TIME") and speed is None:
        speed = 1.0
    return EngineVariables(
        mode,
        _cassettes(environment, mode),
        round((forward_time or 0) * 1e9),
        speed,
        _value(environment, "REPLAYPROXY_AT_END", Choice(("cycle", "last", "refuse"))) or "cycle",
        _value(environment, "REPLAYPROXY_SEED", Whole()) or 0,
        _is_on(environment, "REPLAYPROXY_SYNTHETIC_LOGPROBS")
        or _is_on(environment, "MOCK_COMPUTE_LOGITS")
        or mode is EngineMode.RANDOM,
        round((_value(environment, "REPLAYPROXY_TRANSFER_TIME", Duration()) or 0) * 1e9),
        _value(environment, "REPLAYPROXY_TRANSFER_BANDWIDTH", Size()) or 0,
        _is_on(environment, "PREFILL_PROCESS") if environment.get("PREFILL_PROCESS") else None,
        _is_on(environment, "KV_CACHE_MODE"),
    )


def _mode(environment: Mapping[str, str]) -> EngineMode:
    chosen = {name: mode for name, mode in ALIASES.items() if _is_on(environment, name)}
    own = _value(environment, "REPLAYPROXY_ENGINE_MODE", Choice(tuple(mode.value for mode in EngineMode)))
    if own is not None:
        chosen["REPLAYPROXY_ENGINE_MODE"] = EngineMode(own)
    if len(set(chosen.values())) > 1:
        raise SettingsError(f"{' and '.join(chosen)} exclude each other: set one of them")
    if chosen:
        return next(iter(chosen.values()))
    if environment.get("REPLAYPROXY_CASSETTE"):
        return EngineMode.REPLAY
    raise SettingsError(
        "the engine's mock model was not told what to do: set REPLAYPROXY_CASSETTE=FILE to answer from a cassette,"
        " with REPLAYPROXY_ENGINE_MODE=capture to write one, or RANDOM_MODE=1 for random tokens"
    )


def _cassettes(environment: Mapping[str, str], mode: EngineMode) -> tuple[Path, ...]:
    named = [Path(path) for path in environment.get("REPLAYPROXY_CASSETTE", "").split(os.pathsep) if path]
    folder, file = environment.get("MOCK_CAPTURE_DIR"), environment.get("MOCK_CAPTURE_FILE")
    if not named and (folder or file):
        named = [Path(folder or ".") / (file or DEFAULT_CAPTURE_FILE)]
    if mode is EngineMode.RANDOM:
        return ()
    if not named:
        raise SettingsError(
            f"there is no cassette to {mode.value}: set REPLAYPROXY_CASSETTE=FILE, or MOCK_CAPTURE_DIR and"
            " MOCK_CAPTURE_FILE"
        )
    if mode is EngineMode.CAPTURE and len(named) > 1:
        raise SettingsError("a capture is written to one cassette: name one file in REPLAYPROXY_CASSETTE")
    return tuple(named)


class _Milliseconds:
    """The other mock model counts in whole milliseconds. A unit may be written: `25ms`."""

    def read(self, value: Any) -> float:
        """Return seconds."""
        text = str(value).strip()
        return Duration().read(f"{text}ms" if text.isascii() and text.isdigit() else text)


def _one_of(environment: Mapping[str, str], *named: tuple[str, Kind]) -> Any:
    """Return the value of the first of these variables that is set."""
    found = [(name, kind) for name, kind in named if environment.get(name)]
    return _value(environment, *found[0]) if found else None


def _value(environment: Mapping[str, str], name: str, kind: Kind) -> Any:
    """Return the value of a variable, None where it is not set."""
    text = environment.get(name)
    if not text:
        return None
    try:
        return kind.read(text)
    except BadValue as error:
        raise SettingsError(f"{name}: {error}") from None


def _is_on(environment: Mapping[str, str], name: str) -> bool:
    value = environment.get(name, "").strip().lower()
    if value not in (*TRUE, *FALSE):
        raise SettingsError(f"{name}={environment[name]!r} is neither true nor false: write 1 or 0")
    return value in TRUE


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return the variables that are named like settings of the engine and are not: one is probably misspelt."""
    settings = {*OWN_VARIABLES, "MOCK_CAPTURE_DIR", "MOCK_CAPTURE_FILE", "MOCK_COMPUTE_LOGITS", *WITHOUT_EFFECT}
    return sorted(name for name in environment if name.startswith(("REPLAYPROXY_", "MOCK_")) and name not in settings)
