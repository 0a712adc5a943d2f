"""The faults of a run as values: counted, merged, to JSON and back."""

from __future__ import annotations

import orjson
import pytest

from replayproxy.core.faults.conduct import Outcome
from replayproxy.proxy.fault_result import LISTED, ClientFault, FaultResult, merged_faults


def client(
    outcome: Outcome, *, fault: str = "cut@3", sentence: str = "did not ask again", retries: int = 0
) -> ClientFault:
    """What one client did."""
    return ClientFault("f-0001", fault, "POST", "/v1/chat/completions", "a", outcome, sentence, retries)


RESULT = FaultResult.of(
    "cut@3",
    [client(Outcome.RECOVERED), client(Outcome.GAVE_UP), client(Outcome.NOT_REACHED)],
    {Outcome.RECOVERED: 5},
)


def test_what_did_not_happen_is_not_counted_as_injected() -> None:
    """Seven happened, one of them badly."""
    assert (RESULT.injected, RESULT.mishandled) == (7, 1)


def test_it_survives_json() -> None:
    """Whatever reads a report gets the same values."""
    document = orjson.loads(orjson.dumps(RESULT.document()))
    assert FaultResult.from_document(document) == RESULT
    assert document["outcomes"] == {"gave_up": 1, "not_reached": 1, "recovered": 6}
    assert [one["mishandled"] for one in document["clients"]] == [False, True, False]


@pytest.mark.parametrize(
    "document",
    [None, {}, {"fault": "cut@1", "outcomes": {"bliss": 1}, "clients": []}, RESULT.document() | {"clients": [{}]}],
)
def test_another_document_is_refused(document: object) -> None:
    """With the error that a reader of reports knows."""
    with pytest.raises(ValueError, match=r"fault|outcome|Outcome"):
        FaultResult.from_document(document)


def test_results_of_several_proxies_are_one() -> None:
    """By the fault's text; of many clients the first are listed."""
    many = FaultResult.of("cut@3", [client(Outcome.GAVE_UP)] * LISTED, {})
    merged = merged_faults([RESULT, FaultResult.of("reset@0", [], {Outcome.STORM: 2}), many])
    assert [(one.fault, one.injected, len(one.clients)) for one in merged] == [
        ("cut@3", 107, LISTED),
        ("reset@0", 2, 0),
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (client(Outcome.GAVE_UP), Outcome.ACCEPTED_TRUNCATED),
        (client(Outcome.GAVE_UP, fault="reset@0"), Outcome.GAVE_UP),
        (client(Outcome.GAVE_UP, fault="garbage@1"), Outcome.ACCEPTED_GARBAGE),
        (client(Outcome.GAVE_UP, fault="--rpm 3"), Outcome.GAVE_UP),
        (client(Outcome.GAVE_UP, fault="stall@1", sentence="left after 2 s"), Outcome.GAVE_UP),
        (client(Outcome.GAVE_UP, retries=2), Outcome.GAVE_UP),
        (client(Outcome.RECOVERED), Outcome.RECOVERED),
    ],
)
def test_a_command_that_ended_well_took_what_it_had(before: ClientFault, after: Outcome) -> None:
    """Where it had a beginning and did not ask again; what else was seen stays."""
    result = FaultResult.of(before.fault, [before], {}).after_command()
    assert [one.outcome for one in result.clients] == [after]
    assert result.outcomes == {after: 1}
