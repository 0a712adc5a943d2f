"""The proxies behind the tests: one for each cassette, all on one loop in one thread beside the tests.

Imported when the first test asks for a proxy, because it brings the whole house with it. Knows no pytest.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from replayproxy.api.options import redaction_rules
from replayproxy.app import App
from replayproxy.core.headers import STORED, StoredFields
from replayproxy.core.identity.rules import MatchRules
from replayproxy.core.policy import Mode, OnMiss
from replayproxy.core.sequence import AtEnd
from replayproxy.core.visible import visible_lines
from replayproxy.lifetime import on_loop
from replayproxy.model import RecordingRef, Response
from replayproxy.proxy.request_log import Call, RequestLog
from replayproxy.proxy.result import RecordingInfo, RunResult
from replayproxy.pytest_plugin.options import TestChoice
from replayproxy.settings import Listen, RecordingSettings, Replaying, Settings
from replayproxy.views.miss import Miss

T = TypeVar("T")

OPEN = 16
"""Proxies that stay open at once: each has a port and a few files, and a run may have a thousand cassettes."""

DRAIN = 5.0
"""Seconds that a recorder waits for answers in flight."""


def replaying(cassette: Path, choice: TestChoice) -> Settings:
    """Settings to play a cassette."""
    return Settings(
        Mode.REPLAY,
        (cassette,),
        choice.upstream if choice.on_miss != "refuse" else None,
        match=_rules(choice),
        listen=_LISTEN,
        replaying=Replaying(choice.speed, AtEnd(choice.at_end), OnMiss(choice.on_miss), stall=choice.stall),
    )


def recording(onto: Path, played: tuple[Path, ...], choice: TestChoice, salt: bytes | None = None) -> Settings:
    """Settings to play these cassettes, and to record onto another one what they do not have.

    Not the mode RECORD, which knows no scopes: here equal requests of two tests are one recording, as in replay.
    """
    return Settings(
        Mode.AUTO,
        played,
        choice.upstream,
        match=_rules(choice),
        listen=_LISTEN,
        redact=redaction_rules(choice.redact) if choice.redact else None,
        recording=RecordingSettings(
            on_full="block",
            onto=onto,
            salt=salt,
            fields=StoredFields.of(choice.keep_header, choice.drop_header),
        ),
        replaying=Replaying(choice.speed, stall=choice.stall),
    )


_LISTEN = Listen(port=0, admin_port=None, drain=DRAIN)


def _rules(choice: TestChoice) -> MatchRules | None:
    lists = (choice.match_ignore, choice.match_normalise, choice.match_header)
    if not choice.match and not any(lists) and not choice.match_defaults:
        return None
    return MatchRules(choice.match or "default", *lists, defaults=choice.match_defaults)


@dataclass(frozen=True, slots=True)
class ScopeLog:
    """What one scope has asked for, and the misses among it with the words that explain them."""

    calls: tuple[Call, ...] = ()
    misses: tuple[Miss, ...] = ()


def explanation_of(miss: Miss) -> str:
    """What a person is told of a miss. All that the plugin says of misses goes through here."""
    return visible_lines(miss.explanation)


class CassetteProxy:
    """One app on the stage. Its verbs are called from the tests' threads."""

    def __init__(self, stage: Proxies, app: App, journal: RequestLog, url: str) -> None:
        self.url = url
        self.settings = app.settings
        self._stage = stage
        self._app = app
        self._journal = journal

    def begin(self, scope: str) -> None:
        """A test begins: its lists from the start, also when it is run again; nothing asked yet."""

        self.asked(scope, forget=True)

    def asked(self, scope: str, *, forget: bool = False) -> ScopeLog:
        """What a scope has asked for, with what came without a scope: tests of one process run one by one."""

        async def asked() -> ScopeLog:
            calls = self._journal.of((scope, ""))
            if forget:
                # Now and not when the scope comes again, for what is kept is looked through with every test.
                self._app.control.reset(scope)
                self._app.control.reset("")
                self._journal.forget((scope, ""))
            return ScopeLog(tuple(calls), tuple(self._misses(calls)))

        return self._stage.do(asked())

    def _misses(self, calls: list[Call]) -> list[Miss]:
        known = self._app.control.misses()
        return [replace(known[call.miss], scope=call.scope) for call in calls if call.miss in known]

    def response(self, place: RecordingRef) -> Response:
        """The recording at a place."""
        return self._stage.do(self._app.control.response(place))

    def recordings(self) -> list[RecordingInfo]:
        """Everything that can be played."""

        async def recordings() -> list[RecordingInfo]:
            return self._app.control.recordings()

        return self._stage.do(recordings())

    async def _stop(self) -> tuple[RunResult, ScopeLog]:
        await self._app.stop(DRAIN if self._app.settings.records else 0)
        assert self._app.last_report is not None
        late = self._journal.calls
        return self._app.last_report, ScopeLog(tuple(late), tuple(self._misses(late)))


class Proxies:
    """Starts proxies, keeps the ones used last, and stops them all.

    `closed` is told of each one that was stopped: its settings, its report, and what was asked for after its test.
    """

    def __init__(self, closed: Callable[[Settings, RunResult, ScopeLog], None]) -> None:
        self._closed = closed
        self._proxies: OrderedDict[Settings, CassetteProxy] = OrderedDict()
        self._loop: Future[asyncio.AbstractEventLoop] = Future()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="replayproxy", daemon=True)
        self._thread.start()
        self._loop.result()

    @property
    def thread(self) -> int | None:
        """The one thread that may leave the machine."""
        return self._thread.ident

    def _run(self) -> None:
        on_loop(self._until_ended())

    async def _until_ended(self) -> None:
        self._loop.set_result(asyncio.get_running_loop())
        await self._ended.wait()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop.result()).result()

    def proxy(self, settings: Settings) -> CassetteProxy:
        """The proxy with these settings; started, if it does not run. Raises `ReplayProxyError`."""
        proxy = self._proxies.get(settings)
        if proxy is None:
            for other in [other for other in self._proxies if _in_the_way(other, settings)]:
                self._stop(other)
            while len(self._proxies) >= OPEN:
                self._stop(next(iter(self._proxies)))
            proxy = self._proxies[settings] = self.do(self._start(settings))
        self._proxies.move_to_end(settings)
        return proxy

    async def _start(self, settings: Settings) -> CassetteProxy:
        journal = RequestLog()
        app = App(settings, request_log=journal)
        try:
            addresses = await app.start()
        except BaseException:
            await app.give_up()
            raise
        return CassetteProxy(self, app, journal, addresses.url)

    def _stop(self, settings: Settings) -> None:
        self._closed(settings, *self.do(self._proxies.pop(settings)._stop()))

    def close(self) -> None:
        """Stop all proxies, then the thread."""
        while self._proxies:
            self._stop(next(iter(self._proxies)))
        self._loop.result().call_soon_threadsafe(self._ended.set)
        self._thread.join()


def _in_the_way(running: Settings, starting: Settings) -> bool:
    """Who records has the file for itself: what another test wants of it, it wants afterwards."""
    one, other = ({*settings.cassettes, settings.recording.onto} for settings in (running, starting))
    written = {running.recording.onto, starting.recording.onto} - {None}
    return bool(written & one & other)


def stored_headers(call: Call) -> dict[str, str]:
    """The field lines of a request that a cassette may hold, names in lower case: no key shows up in a test's log."""
    return {name.lower(): value for name, value in STORED.of_request(call.request.headers)}
