"""A fault is written in one way, and every other text gets a sentence that says how to write it."""

from __future__ import annotations

from typing import Any

import pytest

from replayproxy.core.faults.grammar import LONGEST, BadFault, Fault, FaultKind, parse_fault

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("cut@12", {"kind": FaultKind.CUT, "at": 12}),
        ("cut-clean@0", {"kind": FaultKind.CUT_CLEAN}),
        ("stall@3,for=5s", {"kind": FaultKind.STALL, "at": 3, "pause": 5 * SECOND}),
        ("stall@3", {"kind": FaultKind.STALL, "at": 3, "pause": 30 * SECOND}),
        ("slow-start,for=200ms", {"kind": FaultKind.SLOW_START, "pause": SECOND // 5}),
        ("garbage@5", {"kind": FaultKind.GARBAGE, "at": 5}),
        ("reset@0", {"kind": FaultKind.RESET}),
        ("status=429,retry-after=2", {"kind": FaultKind.STATUS, "status": 429, "retry_after": 2.0}),
        ("failure=server_error", {"kind": FaultKind.STATUS, "status": 503, "failure": "server_error"}),
        (
            " cut@1 , rate=10% , first=3 , every=10 , path=/v1/* , model=m? ",
            {
                "kind": FaultKind.CUT,
                "at": 1,
                "rate": 0.1,
                "first": 3,
                "every": 10,
                "path": "/v1/*",
                "model": "m?",
            },
        ),
        ("cut@1,rate=0.25", {"kind": FaultKind.CUT, "at": 1, "rate": 0.25}),
    ],
)
def test_a_text_is_one_fault(text: str, fields: dict[str, Any]) -> None:
    """Name, position and options, whatever white space stands between them."""
    fault = parse_fault(text)
    assert fault == Fault(**fields)
    assert str(fault) == text.strip()


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "write one such as cut@12"),
        ("cutt@3", "did you mean cut?"),
        ("cut", "after how many chunks? Write cut@N"),
        ("cut@", "not a number of chunks"),
        ("cut@-1", "not a number of chunks"),
        ("cut@٣", "not a number of chunks"),
        ("cut@99999999999", "not a number of chunks"),
        ("slow-start@3", "takes no position"),
        ("status", "did you mean status?"),
        ("status=200", "not the status of an error: give 400 to 599"),
        ("status=4290", "not the status of an error"),
        ("failure=teapot", "choose from rate_limit"),
        ("failure=rate-limit", "did you mean rate_limit?"),
        ("cut@3,for=5s", "no option 'for' here: cut takes rate, first, every, path, model"),
        ("status=429,retry_after=2", "did you mean retry-after?"),
        ("cut@3,rate", "write NAME=VALUE"),
        ("cut@3,", "write NAME=VALUE"),
        ("cut@3,rate=2", "not a share"),
        ("cut@3,rate=nan", "not a share"),
        ("cut@3,first=0", "not a count"),
        ("cut@3,every=x", "not a count"),
        ("cut@3,rate=.1,rate=.2", "rate is given twice"),
        ("stall@3,for=soon", "for='soon' is not a duration: write 200ms, 25s or 10m"),
        ("cut@3,path=/a b", "white space"),
        ("cut@3,path=" + "x" * LONGEST, f"longer than {LONGEST} characters"),
    ],
)
def test_another_text_is_explained(text: str, hint: str) -> None:
    """It is quoted, and the sentence says what to write."""
    with pytest.raises(BadFault) as error:
        parse_fault(text)
    assert hint in str(error.value)
    assert repr(text[:20])[1:-1] in str(error.value)
