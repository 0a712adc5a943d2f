"""What became of a run, as a value: counted once, and honest about a run that proves nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from replayproxy.model import RecordingRef, Request
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
        ({"sha256": ["00"]}, "sha256"),
        ({"sha256": {"a.cassette": None}}, "sha256"),
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


# Several results as one


def on(cassette: str, *unused: int, recordings: int = 4, **other: Any) -> RunResult:
    """A result of one cassette that names these recordings as unused."""
    names = tuple(
        RecordingInfo(cassette, f"{number:08x}", RecordingRef("rp1:00", number), "POST", "/v1/chat/completions")
        for number in unused
    )
    return replace(
        REPORT, cassettes=(cassette,), recordings=recordings, unused=names, causes=(), **{"served": 1} | other
    )


MERGED: list[tuple[list[RunResult], int, list[str]]] = [
    ([on("a", 1, 2)], 4, ["a 00000001", "a 00000002"]),
    ([on("a", 1, 2), on("a", 2, 3)], 4, ["a 00000002"]),
    ([on("a", 1), on("a")], 4, []),
    ([on("a", 1, 2), on("b", 1, recordings=2)], 6, ["a 00000001", "a 00000002", "b 00000001"]),
    ([on("b", 3), on("a", 2, recordings=3), on("b", 3, 4), on("a", 2, recordings=5)], 9, ["b 00000003", "a 00000002"]),
]


@pytest.mark.parametrize(("results", "recordings", "unused"), MERGED)
def test_a_recording_is_unused_if_no_proxy_used_it(
    results: list[RunResult], recordings: int, unused: list[str]
) -> None:
    """Of those that played its cassette, in any order; and it is counted once."""
    for order in (results, results[::-1]):
        merged = RunResult.merged(order)
        assert sorted(f"{one.cassette} {one.id}" for one in merged.unused) == sorted(unused)
        assert (merged.recordings, merged.served) == (recordings, len(results))
    assert [f"{one.cassette} {one.id}" for one in RunResult.merged(results).unused] == unused


def test_a_recording_is_the_same_under_other_match_rules() -> None:
    """There its key differs: a proxy whose tests ignore a field has used it as well."""
    other = replace(RECORDING, place=RecordingRef("rp1:ff", 3))
    merged = RunResult.merged([REPORT, replace(REPORT, unused=(other,))])
    assert merged.unused == (RECORDING,)


def test_equal_misses_of_several_proxies_are_one_cause() -> None:
    """Each counts; what was forgotten and what is damaged is added, the largest lateness stays."""
    second = replace(
        REPORT,
        causes=(replace(REPORT.causes[1], id="m-0001"), Cause("m-0002", Miss("no_match", ASKED, "c"), 5)),
        forgotten={"no_match": 2},
        damage="torn",
        lateness_max=1.5,
        recorded=3,
    )
    merged = RunResult.merged([replace(REPORT, forgotten={"no_match": 1, "exhausted": 4}), second, second])
    assert [(cause.id, cause.miss.code, cause.times) for cause in merged.causes] == [
        ("m-0001", "exhausted", 3),
        ("m-0002", "no_match", 3),
        ("m-0002", "no_match", 10),
    ]
    assert merged.misses == REPORT.misses + 2 * 6 + 5 + 4
    assert (merged.forgotten, merged.damage) == ({"no_match": 5, "exhausted": 4}, "torn")
    assert (merged.lateness_max, merged.recorded, merged.mode) == (1.5, 6, "replay")
    assert RunResult.merged([REPORT, replace(REPORT, mode="auto")]).mode == "mixed"


def test_only_contents_that_all_have_seen_have_a_digest() -> None:
    """A cassette that was replaced between two proxies proves nothing; JSON keeps the others."""
    results = [
        replace(REPORT, digests=digests) for digests in ({"a": "1", "b": "2"}, {"a": "1", "b": "3"}, {"c": "4"}, {})
    ]
    merged = RunResult.merged(results)
    assert merged.digests == {"a": "1", "c": "4"}
    assert RunResult.from_document(orjson.loads(b"".join(merged.encoded()))).digests == merged.digests
    with pytest.raises(ValueError, match="needs a result"):
        RunResult.merged([])
