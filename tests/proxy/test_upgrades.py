"""Tests of `proxy/upgrades`: a request to switch protocols is connected with the server, or refused and counted."""

from __future__ import annotations

import asyncio
import logging

import pytest

from replayproxy.core.policy import Mode, OnMiss
from replayproxy.core.redaction import Redactor
from replayproxy.core.sequence import AtEnd, Playhead
from replayproxy.errors import ClientError
from replayproxy.model import Request
from replayproxy.ports import Listener
from replayproxy.proxy.counters import Counters
from replayproxy.proxy.misses import Misses
from replayproxy.proxy.request_log import RequestLog
from replayproxy.proxy.run_state import RunState
from replayproxy.proxy.upgrades import Upgrades
from tests.doubles.fakes import HearingListener, ManualClock

SECRET = "sk-proj-" + "k1" * 20


class Case:
    """Upgrades of one mode, and what they leave behind."""

    def __init__(self, mode: Mode, *, on_miss: OnMiss = OnMiss.REFUSE, with_tunnel: bool = True) -> None:
        self.connected: list[tuple[str, str]] = []
        self.counters, self.misses, self.log = Counters(), Misses(), RequestLog()
        self.upgrades: Upgrades[str] = Upgrades(
            mode,
            on_miss,
            state=RunState(Playhead(AtEnd.REFUSE), self.counters, self.misses, self.log),
            redactor=Redactor(b"salt"),
            tunnel=self._tunnel if with_tunnel else None,
        )

    async def _tunnel(self, request: Request, _: Listener, detach: str) -> None:
        self.connected.append((request.target, detach))

    def answer(self, target: str) -> None:
        """Answer one request."""
        asyncio.run(self.upgrades.answer(Request("GET", target), HearingListener([], ManualClock()), "detach"))


@pytest.mark.parametrize(
    ("mode", "on_miss", "target", "at_server"),
    [
        (Mode.RECORD, OnMiss.REFUSE, "/v1/realtime", "/v1/realtime"),
        (Mode.RECORD, OnMiss.REFUSE, "/t/a/v1/realtime", "/t/a/v1/realtime"),
        (Mode.AUTO, OnMiss.REFUSE, "/t/a/v1/realtime", "/v1/realtime"),
        (Mode.REPLAY, OnMiss.FORWARD, "/t/a/v1/realtime?x=1", "/v1/realtime?x=1"),
    ],
)
def test_a_server_gets_the_request_without_its_scope(mode: Mode, on_miss: OnMiss, target: str, at_server: str) -> None:
    """Modes that know scopes take them off; `record` forwards the target as it is."""
    case = Case(mode, on_miss=on_miss)
    case.answer(target)
    assert case.connected == [(at_server, "detach")]
    assert (case.counters.requests, case.counters.misses, case.log.calls) == ({"upgrade": 1}, {}, [])


def test_the_first_upgrade_is_announced_once(caplog: pytest.LogCaptureFixture) -> None:
    """Without a secret of its target; further ones are in the metrics."""
    case = Case(Mode.RECORD)
    with caplog.at_level(logging.WARNING):
        case.answer(f"/v1/{SECRET}")
        case.answer("/v1/other")
    assert len(caplog.records) == 1
    assert SECRET not in caplog.text
    assert case.counters.requests == {"upgrade": 2}


@pytest.mark.parametrize(
    ("mode", "on_miss", "with_tunnel"),
    [
        (Mode.REPLAY, OnMiss.REFUSE, False),
        (Mode.REPLAY, OnMiss.REFUSE, True),
        (Mode.SIMULATE, OnMiss.REFUSE, False),
        (Mode.RECORD, OnMiss.REFUSE, False),  # a prefill/decode pair
        (Mode.AUTO, OnMiss.REFUSE, False),
    ],
)
def test_a_refused_upgrade_is_a_miss_with_a_number(mode: Mode, on_miss: OnMiss, with_tunnel: bool) -> None:
    """404 `unsupported`; counted, remembered and logged, without a secret of the request, and by its scope."""
    case = Case(mode, on_miss=on_miss, with_tunnel=with_tunnel)
    with pytest.raises(ClientError, match="asks for another protocol than HTTP") as raised:
        case.answer(f"/t/a/v1/{SECRET}")
    assert (raised.value.status, raised.value.code) == (404, "unsupported")
    assert SECRET not in str(raised.value)
    assert (case.connected, case.counters.requests, case.counters.misses) == ([], {}, {"unsupported": 1})
    [(number, miss, times)] = case.misses.causes.values()
    [call] = case.log.calls
    assert (miss.code, times, call.outcome, call.miss, call.scope) == ("unsupported", 1, "refuse", number, "a")
    assert SECRET not in call.request.target
