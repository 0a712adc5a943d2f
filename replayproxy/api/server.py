"""`replay`, `record`, `auto` and `simulate` for Python programs: a proxy while a block runs.

    with replay("chat.cassette", speed=1) as server:
        OpenAI(base_url=server.base_url, api_key="-").chat.completions.create(...)
    assert not server.misses

The same object works under `with` and `async with`. The proxy has a thread and a loop of its own in either case.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from replayproxy.api.client_environment import client_environment
from replayproxy.core.headers import STORED
from replayproxy.core.policy import Mode
from replayproxy.errors import CassetteError, ReplayProxyError, as_keyword
from replayproxy.model import RecordingRef, Response

if TYPE_CHECKING:
    from typing import Unpack

    from replayproxy.api.keywords import AutoOptions, RecordOptions, ReplayOptions, SimulateOptions
    from replayproxy.api.proxy_thread import ProxyThread
    from replayproxy.proxy.fault_result import ClientFault
    from replayproxy.proxy.request_log import Call
    from replayproxy.proxy.result import RecordingInfo, RunResult
    from replayproxy.settings import Settings
    from replayproxy.views.miss import Miss

T = TypeVar("T")

AnyPath = str | PathLike[str]


@dataclass(frozen=True, slots=True)
class ProxyCall:
    """One request. `outcome` is `replay`, `record`, `refuse` (a miss), `forward`, `probe`, `simulate` or `fault`.

    `headers` are those that a cassette may hold, in lower case: no key shows up in a test's log.
    """

    method: str
    path: str
    """With the query, if there was one."""
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    outcome: str
    scope: str
    miss: Miss | None
    """Why no recording answered."""
    played: RecordingRef | None = field(repr=False)
    """The recording that answered; None for every outcome but `replay`."""
    _server: ProxyServer = field(repr=False)

    @property
    def json(self) -> Any:
        """The body of the request as a JSON value. Raises `ValueError` where it is not JSON."""
        return json.loads(self.body)

    @property
    def response(self) -> Response | None:
        """The recording that was played; None for every other outcome. Raises `ReplayProxyError` after the block."""
        return None if self.played is None else self._server.recording(self.played)


class ProxyServer:
    """A proxy while a block runs. Made by `replay`, `record`, `auto` and `simulate`; it can be entered once.

    After the block `calls`, `misses` and `report()` tell what became of it.
    """

    def __init__(self, settings: Settings, wait_upstream: float | None = 0.0, *, keep_calls: bool = True) -> None:
        """Start nothing yet. `wait_upstream`: seconds; None does not contact the live server at the start.

        `keep_calls`: remember requests for `calls` and `misses`; `report` needs none of them.
        """
        from replayproxy.proxy.request_log import RequestLog

        self.settings = settings
        self._wait_upstream = wait_upstream
        self._request_log = RequestLog() if keep_calls else None
        self._thread: ProxyThread | None = None
        self._report: RunResult | None = None
        self._is_closed = False
        self._is_hurried = False

    # Life

    def start(self) -> Self:
        """Listen. Raises `SettingsError`, `CassetteError`, `UpstreamUnreachable`; then nothing of the start stays."""
        from replayproxy.api.proxy_thread import ProxyThread

        if self._thread is not None or self._is_closed:
            raise ReplayProxyError("this proxy has been started before: make another one")
        self._thread = ProxyThread()
        try:
            if self._is_hurried:
                self._thread.hurry()
            self._thread.start(self.settings, self._request_log, self._wait_upstream)
        except BaseException as error:
            self._thread = None
            if isinstance(error, ReplayProxyError):
                error.spelling = as_keyword
            raise
        return self

    def stop(self) -> None:
        """Let answers in flight finish, write, and seal the cassette. Does nothing if it has stopped already.

        Raises `CassetteError` if not everything could be recorded: then traffic has passed that is not on the cassette.
        """
        self.end()
        if self.trouble is not None:
            raise CassetteError(f"not everything was recorded: {self.trouble}")

    def end(self) -> None:
        """Stop, and leave it to the caller to look at `trouble`."""
        if self._thread is None or self._is_closed:
            return
        self._is_closed = True
        self._thread.stop(self.settings.listen.drain)
        self._report = self._thread.app.last_report

    def hurry(self) -> None:
        """End what another thread waits for: `start` raises `concurrent.futures.CancelledError`, `stop` cuts off."""
        self._is_hurried = True
        if (thread := self._thread) is not None:
            thread.hurry()

    @property
    def thread_id(self) -> int:
        """The id of its thread (`threading.get_ident`), for hooks that allow or forbid what a thread does."""
        return self._running.thread_id

    @property
    def trouble(self) -> str | None:
        """Why not everything was recorded, as a sentence; None if all of it was."""
        return None if self._thread is None else self._thread.app.control.trouble

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # An error of the block tells more than that of the recorder, which has been logged.
        with suppress(CassetteError) if kind is not None else nullcontext():
            self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(self, *error: Any) -> None:
        # Draining waits for answers that the caller's own tasks may still be reading: its loop goes on meanwhile.
        await asyncio.to_thread(self.__exit__, *error)

    @property
    def _running(self) -> ProxyThread:
        if self._thread is None:
            raise ReplayProxyError("this proxy does not listen yet: use it in a `with` block, or call start()")
        return self._thread

    # Where it listens

    @property
    def url(self) -> str:
        """Its address, for SDKs that add `/v1` themselves (Anthropic's); `unix:PATH` for a Unix domain socket."""
        return self._running.url

    @property
    def base_url(self) -> str:
        """Its address with `/v1`, for SDKs that want it so (OpenAI's)."""
        return f"{self.url}/v1"

    @property
    def admin_url(self) -> str | None:
        """The address of its admin port, if `admin_port` was given."""
        return self._running.admin_url

    @property
    def env(self) -> dict[str, str]:
        """Variables that make SDKs, in any language, talk to this proxy: for the environment of a child process."""
        return client_environment(self.url, os.environ)

    # What became of the requests

    @property
    def calls(self) -> list[ProxyCall]:
        """Every request so far, in the order in which they were decided; of many, the newest 64 MiB of them."""
        return self._on_loop(lambda: self._calls(None))

    def calls_in(self, *scopes: str) -> list[ProxyCall]:
        """The requests of these scopes so far. The scope of a request without a scope is `""`."""
        return self._on_loop(lambda: self._calls(scopes))

    def end_scopes(self, *scopes: str) -> list[ProxyCall]:
        """Return the requests of these scopes and forget them; their next requests get the first recordings again.

        No request is decided in between, so each is returned once, by this call or the next one.
        """

        def end() -> list[ProxyCall]:
            calls = self._calls(scopes)
            for scope in scopes:
                self._running.app.control.reset(scope)
            if self._request_log is not None:
                self._request_log.forget(scopes)
            return calls

        return self._on_loop(end)

    def _calls(self, scopes: Collection[str] | None) -> list[ProxyCall]:
        log, misses = self._request_log, self._running.app.control.misses()
        if log is None:
            return []
        return [self._call(call, misses) for call in (log.calls if scopes is None else log.of(scopes))]

    def _call(self, call: Call, misses: Mapping[str, Miss]) -> ProxyCall:
        request = call.request
        headers = {name.lower(): value for name, value in STORED.of_request(request.headers)}
        miss = misses.get(call.miss) if call.miss is not None else None
        if miss is not None:  # equal misses of several scopes are remembered once
            miss = replace(miss, scope=call.scope)
        return ProxyCall(
            request.method, request.target, headers, request.body, call.outcome, call.scope, miss, call.place, self
        )

    def recording(self, place: RecordingRef) -> Response:
        """The recording that answers equal requests at this place. Raises `ReplayProxyError` after the block."""
        running = self._running
        if self._is_closed:
            raise ReplayProxyError("the proxy has stopped: look at responses within the block, or open the cassette")
        return running.call(running.app.control.response(place))

    def recordings(self) -> list[RecordingInfo]:
        """Everything that can be played now, oldest first. Raises `ReplayProxyError` after the block."""
        if self._is_closed:
            raise ReplayProxyError("the proxy has stopped: list recordings within the block, or open the cassette")
        return self._on_loop(self._running.app.control.recordings)

    def _on_loop(self, function: Callable[[], T]) -> T:
        """Call it where nothing changes meanwhile: on the proxy's loop, or here when that has ended."""
        if self._is_closed:
            return function()

        async def called() -> T:
            return function()

        return self._running.call(called())

    @property
    def misses(self) -> list[Miss]:
        """Why requests had no recording, in their order. Each has a `code` and a `sentence`."""
        return [call.miss for call in self.calls if call.miss is not None]

    @property
    def client_faults(self) -> list[ClientFault]:
        """The injected faults, and what the clients did: `outcome`, `sentence`, `is_mishandled`; the newest 1 000."""
        return self._on_loop(self._running.app.control.client_faults)

    def client_faults_in(self, *scopes: str) -> list[ClientFault]:
        """Those of these scopes. The scope of a request without a scope is `""`."""
        return self._on_loop(lambda: self._running.app.control.client_faults(scopes))

    def report(self) -> RunResult:
        """What was served, missed, recorded and not used so far; after the block, in all."""
        if self._report is not None:
            return self._report
        return self._on_loop(self._running.app.control.report)

    def reset(self, *, counts: bool = False) -> None:
        """Equal requests get their first recording again; `counts`: also forget what was counted, and the misses."""
        control = self._running.app.control
        self._on_loop(lambda: control.reset(counts=counts))

    def __repr__(self) -> str:
        cassettes = " ".join(map(str, self.settings.cassettes))
        state = "stopped" if self._is_closed else "new" if self._thread is None else self._thread.url
        return f"<ProxyServer {self.settings.mode.value} {cassettes} {state}>"


# The four ways


def replay(cassette: AnyPath, *more: AnyPath, **options: Unpack[ReplayOptions]) -> ProxyServer:
    """Answer from recordings, byte for byte and chunk for chunk; `speed=1` also at the recorded times.

    Options have the names of the flags of `replayproxy replay`. Raises `SettingsError` for values that do not fit.
    """
    return _server(Mode.REPLAY, (cassette, *more), options)


def record(cassette: AnyPath, **options: Unpack[RecordOptions]) -> ProxyServer:
    """Proxy to a live server (`upstream=`), or to a pair (`prefill=`, `decode=`), and record what passes.

    The cassette is created, or recorded further; it is sealed when the block ends. Options have the names of the flags
    of `replayproxy record`. For exact times record with the command line: there the proxy has a process of its own.
    """
    return _server(Mode.RECORD, (cassette,), options)


def auto(cassette: AnyPath, **options: Unpack[AutoOptions]) -> ProxyServer:
    """Play what is on the cassette, and record what is not. Options: those of `replayproxy auto`."""
    return _server(Mode.AUTO, (cassette,), options)


def simulate(model: str = "simulated", **options: Unpack[SimulateOptions]) -> ProxyServer:
    """Answer chat and completions with words that mean nothing. Options: those of `replayproxy simulate`."""
    return _server(Mode.SIMULATE, (), options, model=model)


def _server(mode: Mode, cassettes: tuple[AnyPath, ...], options: Mapping[str, Any], **more: Any) -> ProxyServer:
    from replayproxy.api.options import checked, settings_of, value_of

    values = checked(mode, options) | more
    try:
        return ProxyServer(settings_of(mode, tuple(map(Path, cassettes)), values), value_of("wait_upstream", values))
    except ReplayProxyError as error:
        error.spelling = as_keyword
        raise
