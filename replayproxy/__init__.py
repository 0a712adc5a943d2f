"""Record and replay LLM servers: the same bytes, the same chunk boundaries, the same beat.

A source plays an answer to listeners. A live server is a source, a cassette is a source, a simulator is a source; the
client is a listener, the tape is a listener. Everything else decides which source plays.

    record    socket -> Request -> decide -> Upstream plays -> client and Tape listen -> Piece -> Writer -> Cassette
    replay    socket -> Request -> key -> decide -> Cassette.read -> Player plays on time -> client listens

    floor 4   cli/ pytest_plugin/               doors
    floor 3   lifetime assembly settings admin/         the only place where rooms meet
    floor 2   proxy/ (story)  cassette/ (disk)  net/ (wire)     they do not import one another
    floor 1   core/                             pure
    floor 0   model errors ports                words

Read in this order: `model`, `ports`, `proxy/handler`, `core/policy`, `core/matching`, `core/timing`, `cassette/schema`,
`net/server`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from replayproxy.api.cassettes import Cassette, Exchanges
    from replayproxy.api.exchange import RecordedExchange as Exchange
    from replayproxy.api.exchange import StreamEvent, Usage
    from replayproxy.api.server import ProxyCall, ProxyServer, auto, record, replay, simulate
    from replayproxy.errors import (
        BadAnswer,
        CassetteError,
        ClientError,
        Damaged,
        Locked,
        NewerFormat,
        NoSuchExchange,
        NotACassette,
        OlderFormat,
        ReplayProxyError,
        SettingsError,
        UpstreamError,
        UpstreamGarbled,
        UpstreamTimeout,
        UpstreamUnreachable,
    )
    from replayproxy.model import Ending, Leg, Request, Response, Timeline

__version__ = "0.1.0"

__all__ = [
    "BadAnswer",
    "Cassette",
    "CassetteError",
    "ClientError",
    "Damaged",
    "Ending",
    "Exchange",
    "Exchanges",
    "Leg",
    "Locked",
    "NewerFormat",
    "NoSuchExchange",
    "NotACassette",
    "OlderFormat",
    "ProxyCall",
    "ProxyServer",
    "ReplayProxyError",
    "Request",
    "Response",
    "SettingsError",
    "StreamEvent",
    "Timeline",
    "UpstreamError",
    "UpstreamGarbled",
    "UpstreamTimeout",
    "UpstreamUnreachable",
    "Usage",
    "auto",
    "record",
    "replay",
    "simulate",
]

_HOMES = {
    "Cassette": "api.cassettes",
    "Exchanges": "api.cassettes",
    "Exchange": "api.exchange",
    "StreamEvent": "api.exchange",
    "Usage": "api.exchange",
    **dict.fromkeys(("ProxyCall", "ProxyServer", "auto", "record", "replay", "simulate"), "api.server"),
    **dict.fromkeys(("Ending", "Leg", "Request", "Response", "Timeline"), "model"),
}
"""The modules that define the public names; errors are in `errors`."""


def __getattr__(name: str) -> Any:
    """Load a public name on its first use (PEP 562): pytest imports this package in every run."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOMES.get(name, 'errors')}")
    value = getattr(module, "RecordedExchange" if name == "Exchange" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
