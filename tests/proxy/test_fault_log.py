"""What is remembered of faults: enough to judge clients, and not more."""

from __future__ import annotations

import pytest

from replayproxy.core.faults.conduct import Outcome
from replayproxy.core.faults.grammar import parse_fault
from replayproxy.model import Request
from replayproxy.proxy import fault_log
from replayproxy.proxy.fault_log import Chain, FaultLog
from tests.doubles.fakes import JSON, SECOND, SSE

ASKED = Request("POST", "/v1/chat/completions", (), b"{}")


def fault(log: FaultLog, key: str, text: str = "status=503", *, at: int = 0) -> Chain:
    """One fault of a request that continues nothing."""
    chain = log.arrived(key, "", ASKED, at) or Chain(key, "")
    case = log.inject(parse_fault(text), chain, method="POST", path=ASKED.path, scope="")
    log.over(chain, at, whole=False, case=case)
    return chain


def test_many_faults_are_counted_and_the_newest_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counts are of all."""
    monkeypatch.setattr(fault_log, "CASES", 10)
    log = FaultLog()
    for number in range(25):
        fault(log, f"{number}", "status=503" if number % 2 else "status=401")
    assert len(log.client_faults()) == 10
    assert [(one.fault, dict(one.outcomes)) for one in log.results()] == [
        ("status=401", {Outcome.NOT_RETRIED: 13}),
        ("status=503", {Outcome.GAVE_UP: 12}),
    ]


def test_a_loop_of_repetitions_is_bounded() -> None:
    """A client that never stops keeps neither more times nor more faults than are needed for the verdict."""
    log = FaultLog()
    chain = fault(log, "k")
    for at in range(1, 500):
        fault(log, "k", at=at * SECOND // 100)
    assert len(chain.cases) == fault_log.RETRIES
    first = log.client_faults()[0]
    assert (first.outcome, first.retries) == (Outcome.STORM, fault_log.RETRIES)


@pytest.mark.parametrize(
    ("body", "echoes"),
    [
        ('{"content":"Grüße aus dem Süden"}'.encode(), True),
        (b'{"content":"Gr\\u00fc\\u00dfe aus dem S\\u00fcden"}', True),
        ('{"content":"Grüße"}'.encode(), False),
    ],
)
def test_a_text_is_found_in_both_spellings_of_json(body: bytes, echoes: bool) -> None:
    """As UTF-8 and with escapes; half of it is another text."""
    log = FaultLog()
    chain = fault(log, "k", "cut@1")
    log.watch(chain.cases[0], JSON, '{"choices":[{"message":{"content":"Grüße aus dem Süden"}}]}'.encode())
    log.arrived("another", "", Request("POST", "/", (), body), SECOND)
    assert (log.client_faults()[0].outcome is Outcome.ACCEPTED_TRUNCATED) is echoes


def test_a_short_beginning_proves_nothing() -> None:
    """It stands in other texts by chance."""
    log = FaultLog()
    chain = fault(log, "k", "cut@1")
    log.watch(chain.cases[0], SSE, b'data: {"choices":[{"delta":{"content":"Yes"}}]}\n\n')
    log.arrived("another", "", Request("POST", "/", (), b'{"content":"Yes"}'), SECOND)
    assert log.client_faults()[0].outcome is Outcome.GAVE_UP
