"""Record and replay LLM servers: the same bytes, the same chunks, the same times.

A source plays an answer to listeners. A live server is a source, a recording is a source, a simulator is a source; the
client is a listener, the recorder is a listener. Everything else decides which source plays.

    record    socket -> Request -> decide -> Upstream plays -> client and recorder listen -> WriterThread -> cassette
    replay    socket -> Request -> key -> decide -> CassetteReader -> Player plays on time -> client listens

Layers; imports go down, never up, never sideways between the packages of one layer:

    entry points   cli/  pytest_plugin/  vllm_plugin/
    public API     api/
    admin port     admin/                                   given to an app by the entry point that wants one
    application    lifetime  app  control  assembly         the only place where the packages below meet
    packages       proxy/  cassette/  net/  simulator/      unknown to one another
    views          views/                                   plain values
    core           core/                                    pure: no I/O, no clock, no event loop
    values         model  errors  ports                     standard library only

Read in this order: `model`, `ports`, `proxy/handler`, `core/policy`, `core/identity/rules`, `core/timing`,
`cassette/schema`, `net/http_server`. docs/architecture.md follows a request through the files.
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
