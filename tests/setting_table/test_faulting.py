"""Tests of `setting_table/faulting`: what its help promises is what the grammar reads, and where it may be set."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from replayproxy.api.options import settings_of
from replayproxy.core.faults.failure_answers import FAILURE_TYPES
from replayproxy.core.faults.grammar import FaultKind, parse_fault
from replayproxy.core.policy import Mode
from replayproxy.errors import SettingsError
from replayproxy.setting_table import TABLE, of_verb


def test_the_help_of_fail_names_each_fault_as_it_is_written() -> None:
    """Each example can be pasted, and no kind is left out."""
    meaning = TABLE["fail"].meaning
    listed = re.findall(r"[a-z-]+(?:@\d+|=\d+|(?=,for))(?:,(?:for|retry-after)=\w+)?", meaning.partition(";")[0])
    assert {parse_fault(text).kind for text in listed} == set(FaultKind)
    for option in ("rate=0.1", "first=3", "every=10", "path=/v1/*", "model=GLOB"):
        assert option in meaning
        parse_fault(f"cut@1,{option}")


def test_the_help_of_failure_types_names_all() -> None:
    """As the grammar and llm-d-inference-sim call them."""
    assert set(FAILURE_TYPES) <= set(re.findall(r"\w+", TABLE["failure_types"].meaning))


@pytest.mark.parametrize("verb", ["replay", "exec", "simulate"])
def test_three_verbs_inject_faults(verb: str) -> None:
    """All of them seeded."""
    names = {row.name for row in of_verb(verb)}
    assert {"fail", "fail_header", "rpm", "tpm", "seed", "assert_resilient", "report", "junit"} <= names


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fail": "cutt@3"}, "--fail 'cutt@3' is not a fault: did you mean cut?"),
        ({"failure_types": ("rate_limit,teapot",)}, "--failure-types teapot is not a type of failure"),
        (
            {"fail": "cut@3", "on_miss": "record", "upstream": "http://127.0.0.1:1"},
            "a run that records injects no faults",
        ),
    ],
)
def test_what_makes_no_sense_is_said(options: dict[str, Any], sentence: str) -> None:
    """Before anything starts."""
    mode = Mode.SIMULATE if "failure_types" in options else Mode.REPLAY
    with pytest.raises(SettingsError) as error:
        settings_of(mode, (Path("a.cassette"),), options)
    assert sentence in str(error.value)


def test_values_arrive() -> None:
    """As the injector needs them."""
    options = {
        "fail": ("cut@3", "status=429"),
        "fail_header": True,
        "rpm": 3,
        "tpm": 4,
        "failure_injection_rate": 10,
        "failure_types": ("rate_limit", "server_error,invalid_request"),
    }
    faulting = settings_of(Mode.SIMULATE, (), options).faulting
    assert [fault.text for fault in faulting.faults] == ["cut@3", "status=429"]
    assert (faulting.by_header, faulting.rpm, faulting.tpm, faulting.injection.percent) == (True, 3, 4, 10)
    assert faulting.injection.types == ("rate_limit", "server_error", "invalid_request")
    assert faulting.is_on
    assert not settings_of(Mode.SIMULATE, (), {}).faulting.is_on
