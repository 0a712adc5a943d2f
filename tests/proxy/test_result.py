"""What became of a run, as a value: counted once, and honest about a run that proves nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from replayproxy.model import RecordingRef, Request
from replayproxy.proxy.request_log import Call, RequestLog
from replayproxy.proxy.result import PART, Cause, RecordingInfo, RunResult
from replayproxy.views.miss import Miss

ASKED = Request("POST", "/v1/chat/completions", (), b"{}")
RECORDING = RecordingInfo("a.cassette", "7f3a1c02", RecordingRef("rp1:00", 3), "POST", "/v1/chat/completions")
REPORT = RunResult(
    mode="replay",
    cassettes=("a.cassette",),
    recordings=2,
    served=1,
    forwarded=0,
    recorded=0,
    dropped=0,
    simulated=0,
    causes=(Cause("m-0001", Miss("exhausted", ASKED, "rp1:00"), 3), Cause("m-0002", Miss("no_match", ASKED, "b"), 1)),
    unused=(RECORDING,),
    lateness_max=0.25,
)


def test_equal_misses_count_each() -> None:
    """Three times one and once another are four."""
    assert REPORT.misses == 4


@pytest.mark.parametrize(
    ("counts", "vacuous"),
    [
        ({"served": 0}, True),
        ({"served": 0, "dropped": 3}, True),
        ({}, False),
        ({"served": 0, "recorded": 1}, False),
        ({"served": 0, "forwarded": 1}, False),
        ({"served": 0, "simulated": 1}, False),
    ],
)
def test_a_run_that_answered_nothing_is_vacuous(counts: dict[str, Any], vacuous: bool) -> None:
    """Misses are no answers, nor is what was dropped."""
    assert replace(REPORT, **counts).vacuous is vacuous


def test_it_is_data() -> None:
    """JSON, with everything that the words say; times in seconds."""
    said = orjson.loads(orjson.dumps(REPORT.document()))
    assert (said["served"], said["recordings"], said["lateness_max_s"]) == (1, 2, 0.25)
    assert [(one["id"], one["times"], one["code"]) for one in said["misses"]] == [
        ("m-0001", 3, "exhausted"),
        ("m-0002", 1, "no_match"),
    ]
    assert said["unused"] == [
        {
            "cassette": "a.cassette",
            "id": "7f3a1c02",
            "key": "rp1:00",
            "occurrence": 3,
            "method": "POST",
            "path": "/v1/chat/completions",
        }
    ]


def test_a_journal_knows_whose_calls_are_whose() -> None:
    """By scope, in their order."""
    journal = RequestLog()
    calls = [Call(ASKED, scope, "replay") for scope in ("a", "b", "a")]
    for call in calls:
        journal.add(call)
    assert (journal.of({"a"}), journal.of({"b"}), journal.of({"c"})) == ([calls[0], calls[2]], [calls[1]], [])
    assert journal.of({"a", "b"}) == journal.calls == calls
    journal.forget({"a"})
    assert journal.calls == [calls[1]]
    assert 0 < journal.bytes < 1500


def test_a_journal_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """In bytes: the oldest calls go, which is said once; the newest stays, however long it is."""
    journal = RequestLog(limit=100_000)
    for number in range(300):
        journal.add(Call(replace(ASKED, body=b"%05d" % number * 200), "", "replay"))
    assert journal.calls[-1].request.body.startswith(b"00299")
    assert (len(journal.calls) + journal.forgotten, journal.bytes <= 100_000) == (300, True)
    journal.add(Call(replace(ASKED, body=b"x" * 200_000), "", "replay"))
    assert len(journal.calls) == 1
    assert len([one for one in caplog.records if "the oldest are left out" in one.getMessage()]) == 1


def test_the_document_in_parts_is_the_document() -> None:
    """Also where a list is longer than a part."""
    many = tuple(replace(REPORT.unused[0], id=f"{number:08x}") for number in range(2 * PART + 1))
    for report in (REPORT, replace(REPORT, unused=many), replace(REPORT, unused=(), causes=())):
        assert orjson.loads(b"".join(report.encoded())) == report.document()


def test_damage_is_counted_apart_from_misses() -> None:
    """Also of causes that had to be forgotten."""
    causes = (*REPORT.causes, Cause("m-0009", Miss("damaged", ASKED, "rp1:00", damage="torn"), 4))
    report = replace(REPORT, causes=causes, forgotten={"no_match": 1000, "damaged": 2})
    assert (report.misses, report.damaged, report.unexplained) == (REPORT.misses + 1000, 6, 1002)
    assert (report.document()["damaged"], report.document()["misses_not_listed"]) == (6, 1002)


def test_it_comes_back_from_json() -> None:
    """What is read back judges and prints as what was written; misses keep their whole document."""
    result = replace(REPORT, forgotten={"no_match": 2}, damage="chat.cassette is damaged")
    again = RunResult.from_document(orjson.loads(b"".join(result.encoded())))
    assert again.document() == result.document()
    assert (again.misses, again.damaged, again.unused) == (result.misses, result.damaged, result.unused)
    assert [cause.miss.explanation for cause in again.causes] == [cause.miss.explanation for cause in result.causes]


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"served": None}, "served"),
        ({"misses": {}}, "misses"),
        ({"misses": [{"id": "m-0001", "times": "3"}]}, "its count"),
        ({"misses": ["m-0001"]}, "a miss is not an object"),
        ({"misses": [{"id": "m-0001", "times": 3, "code": 404}]}, "the code of a miss"),
        ({"unused": [{"id": "7f3a1c02"}]}, "an unused recording lacks"),
        ({"recorded": "2"}, "recorded is not a count"),
        ({"lateness_max_s": "late"}, "lateness_max_s"),
    ],
)
def test_what_is_not_a_result_is_refused(change: dict[str, Any], missing: str) -> None:
    """The error names the field; a number is never guessed."""
    with pytest.raises(ValueError, match=missing):
        RunResult.from_document(orjson.loads(orjson.dumps(REPORT.document() | change)))


def test_a_report_of_an_older_version_has_fewer_counts() -> None:
    """Those are 0; what it needs is what was served, missed and not used."""
    old = RunResult.from_document({"served": 2, "misses": [], "unused": []})
    assert (old.served, old.recorded, old.misses, old.vacuous) == (2, 0, 0, False)
