"""Decide what to do with a request, as one pure table. No other place decides by the mode."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from replayproxy.model import RecordingRef

PROBES = frozenset({"/health", "/ping", "/load", "/metrics", "/version"})
"""Paths about the server itself: forwarded and never recorded; a replay answers them itself."""


class Mode(StrEnum):
    """What a proxy was started for."""

    RECORD = "record"
    REPLAY = "replay"
    AUTO = "auto"
    SIMULATE = "simulate"


class OnMiss(StrEnum):
    """What happens when no recording answers."""

    REFUSE = "refuse"
    FORWARD = "forward"
    RECORD = "record"
    SIMULATE = "simulate"


@dataclass(frozen=True, slots=True)
class Replay:
    """Play this recording."""

    place: RecordingRef


@dataclass(frozen=True, slots=True)
class Record:
    """Send it to the server and record the answer."""


@dataclass(frozen=True, slots=True)
class Forward:
    """Send it to the server and record nothing."""


@dataclass(frozen=True, slots=True)
class Simulate:
    """Invent an answer."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Answer in place of the server."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with an error that explains the miss."""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """Connect the client with the server, and record nothing."""


Decision = Replay | Record | Forward | Simulate | Probe | Refuse

_FALLBACKS: dict[OnMiss, Decision] = {
    OnMiss.REFUSE: Refuse(),
    OnMiss.FORWARD: Forward(),
    OnMiss.RECORD: Record(),
    OnMiss.SIMULATE: Simulate(),
}


def looks_for_recordings(mode: Mode) -> bool:
    """Return whether a mode looks for recordings, and so needs the key of a request before the answer."""
    return mode in (Mode.REPLAY, Mode.AUTO)


def decide(
    mode: Mode, *, probe: bool, is_recorded: bool, place: RecordingRef | None, on_miss: OnMiss, stands_in: bool = False
) -> Decision:
    """The table.

    `probe`: the path is one of `PROBES`. `is_recorded`: the recorder's filters let it in. `place`: the next recording
    for this request and scope, if there is one. `on_miss` counts in REPLAY only; AUTO records what it misses.
    `stands_in`: nobody recorded this, and we can answer for the server: which models there are, or a preflight.
    """
    match mode:
        case Mode.RECORD:
            return Record() if is_recorded and not probe else Forward()
        case Mode.AUTO:
            if probe:
                return Forward()
            if place is not None:
                return Replay(place)
            return Record() if is_recorded else Forward()
        case Mode.REPLAY:
            if probe:
                return Probe()
            if place is not None:
                return Replay(place)
            if stands_in and on_miss is OnMiss.REFUSE:
                return Probe()
            return _FALLBACKS[on_miss]
        case Mode.SIMULATE:
            return Simulate()  # its health, metrics and version are its own


def decide_upgrade(mode: Mode, on_miss: OnMiss, *, has_tunnel: bool) -> Tunnel | Refuse:
    """The row of the table for a request to switch to another protocol (WebSocket, RFC 9110 section 7.8).

    `has_tunnel`: one live server is there that can switch; a prefill/decode pair cannot.
    """
    # No recording can answer it: what follows a switch are messages of both sides, which a cassette does not hold.
    may_ask_server = mode in (Mode.RECORD, Mode.AUTO) or (
        mode is Mode.REPLAY and on_miss in (OnMiss.FORWARD, OnMiss.RECORD)
    )
    return Tunnel() if may_ask_server and has_tunnel else Refuse()
