"""The proxies behind the tests: a `ProxyServer` of the public API for each cassette.

Imported when the first test uses a proxy, because it brings the whole package with it. Knows no pytest.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from replayproxy.api.options import faults_of, rechunking, redaction_rules
from replayproxy.api.server import ProxyServer
from replayproxy.core.headers import StoredFields
from replayproxy.core.identity.rules import MatchRules
from replayproxy.core.policy import Mode, OnMiss
from replayproxy.core.sequence import AtEnd
from replayproxy.pytest_plugin.options import TestChoice
from replayproxy.settings import Faulting, Listen, RecordingSettings, Replaying, Settings

OPEN = 16
"""Proxies that stay open at once: each has a thread, a port and a few files; a run may have a thousand cassettes."""

DRAIN = 5.0
"""Seconds that a recorder waits for answers in flight."""


# Settings


def replaying(cassette: Path, choice: TestChoice) -> Settings:
    """Settings that play a cassette."""
    return Settings(
        Mode.REPLAY,
        (cassette,),
        choice.upstream if choice.on_miss != "refuse" else None,
        match=_match_rules(choice),
        listen=Listen(port=0, admin_port=None, drain=0.0),
        replaying=Replaying(
            choice.speed,
            AtEnd(choice.at_end),
            OnMiss(choice.on_miss),
            stall=choice.stall,
            rechunk=None if choice.rechunk is None else rechunking(choice.rechunk),
            carry=choice.carry,
        ),
        faulting=_faulting(choice),
    )


def recording(onto: Path, played: tuple[Path, ...], choice: TestChoice, salt: bytes | None = None) -> Settings:
    """Settings that play these cassettes, and record to another one what they do not have.

    The mode is AUTO and not RECORD, which knows no scopes: as in a replay, equal requests of two tests are one
    recording.
    """
    return Settings(
        Mode.AUTO,
        played,
        choice.upstream,
        match=_match_rules(choice),
        listen=Listen(port=0, admin_port=None, drain=DRAIN),
        redact=redaction_rules(choice.redact) if choice.redact else None,
        recording=RecordingSettings(
            on_full="block",
            onto=onto,
            salt=salt,
            fields=StoredFields.of(choice.keep_header, choice.drop_header),
        ),
        replaying=Replaying(choice.speed, stall=choice.stall),
        faulting=_faulting(choice),
    )


def _faulting(choice: TestChoice) -> Faulting:
    return Faulting(faults_of({"fail": choice.fail}), choice.fail_header)


def _match_rules(choice: TestChoice) -> MatchRules | None:
    lists = (choice.match_ignore, choice.match_normalise, choice.match_header)
    if not choice.match and not any(lists) and not choice.match_defaults:
        return None
    return MatchRules(choice.match or "default", *lists, defaults=choice.match_defaults)


# Proxies


class Proxies:
    """Starts proxies, keeps those that were used last, and stops them all."""

    def __init__(self, stopped: Callable[[ProxyServer], None]) -> None:
        """`stopped` is called with each proxy after its stop; its `calls` are those that came after their tests."""
        self._stopped = stopped
        self._servers: OrderedDict[Settings, ProxyServer] = OrderedDict()
        self.thread_ids: set[int] = set()
        """The threads of the proxies that run: they may connect to the live server."""

    def server(self, settings: Settings) -> ProxyServer:
        """The proxy with these settings; started, if it does not run. Raises `ReplayProxyError`."""
        server = self._servers.get(settings)
        if server is None:
            for other in [other for other in self._servers if _exclude_each_other(other, settings)]:
                self._stop(other)
            while len(self._servers) >= OPEN:
                self._stop(next(iter(self._servers)))
            # The live server is not contacted at the start: a cassette may have all that the tests need.
            server = self._servers[settings] = ProxyServer(settings, wait_upstream=None).start()
            self.thread_ids.add(server.thread_id)
        self._servers.move_to_end(settings)
        return server

    def _stop(self, settings: Settings) -> None:
        server = self._servers.pop(settings)
        thread_id = server.thread_id
        server.end()
        self.thread_ids.discard(thread_id)
        self._stopped(server)

    def close(self) -> None:
        """Stop all proxies."""
        while self._servers:
            self._stop(next(iter(self._servers)))


def _exclude_each_other(first: Settings, second: Settings) -> bool:
    """Whether one of them records to a cassette that the other one uses: a recorder locks its cassette."""
    left, right = ({*settings.cassettes, settings.recording.onto} for settings in (first, second))
    recorded = {first.recording.onto, second.recording.onto} - {None}
    return bool(recorded & left & right)
