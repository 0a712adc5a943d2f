"""Tests of `setting_kinds`: what each kind reads from text, YAML and Python, and what it says of anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from replayproxy.core.sequence import AtEnd
from replayproxy.setting_kinds import (
    BadValue,
    Choice,
    Duration,
    File,
    Flag,
    Json,
    Kind,
    Number,
    Port,
    Rotation,
    Size,
    Speed,
    Text,
    Whole,
)

WORDS = Choice(("cycle", "last"))

READ: list[tuple[Kind, Any, Any]] = [
    (Text(), "a", "a"),
    (Text(), "", ""),
    (File(), "a/b", Path("a/b")),
    (File(), Path("a"), Path("a")),
    (Flag(), True, True),
    (Flag(), 0, False),
    (WORDS, "last", "last"),
    (WORDS, AtEnd.LAST, "last"),
    (Number(), "0.5", 0.5),
    (Rotation(), "256MB", "256MB"),
    (Rotation(), "10m", "10m"),
    (Number(), 1, 1.0),
    (Whole(0), "7", 7),
    (Whole(), -3, -3),
    (Whole(1, 99), 99, 99),
    (Duration(), "200ms", 0.2),
    (Duration(), "25 s", 25.0),
    (Duration(), "1.5m", 90.0),
    (Duration(), "30", 30.0),
    (Duration(), 0, 0.0),
    (Size(), "1KiB", 1024),
    (Size(), "10 GB", 10**10),
    (Size(), 5, 5),
    (Speed(), "max", None),
    (Speed(), None, None),
    (Speed(), "2.5", 2.5),
    (Speed(), 1, 1.0),
    (Json(), '{"a": [1]}', {"a": [1]}),
    (Json(), {"a": 1}, {"a": 1}),
    (Port(), "8080", 8080),
    (Port(), 0, 0),
    *((Port(or_off=True), off, None) for off in ("off", None, False, -1)),
    (Port(or_off=True), "0", 0),
]


@pytest.mark.parametrize(("kind", "value", "expected"), READ)
def test_a_value_is_read(kind: Kind, value: Any, expected: Any) -> None:
    """With the type that the setting has in Python."""
    found = kind.read(value)
    assert (found, type(found)) == (expected, type(expected))


WRONG: list[tuple[Kind, Any, str]] = [
    (Text(), 1, "1 is not a text"),
    (File(), "", "'' is not the path of a file"),
    (Flag(), "yes", "'yes' is not true or false"),
    (WORDS, "first", "'first' is not one of its values: choose from cycle, last"),
    (Number(), "a", "'a' is not a number"),
    (Number(), None, "None is not a number"),
    (Whole(), "1.5", "'1.5' is not a whole number"),
    (Whole(), 1.5, "1.5 is not a whole number"),
    (Whole(0), -1, "-1 is out of range: give a whole number from 0"),
    (Whole(1, 99), 100, "100 is out of range: give a whole number from 1 to 99"),
    (Duration(), "1 day", "'1 day' is not a duration: write 200ms, 25s or 10m"),
    (Duration(), -1, "-1 is not a duration: give seconds, 0 or more"),
    (Duration(), float("inf"), "inf is not a duration: give seconds, 0 or more"),
    (Size(), "1PB", "'1PB' is not a size: write 256MiB or 10GB"),
    (Json(), "{a: 1}", "'{a: 1}' is not JSON: quote it, and write names in double quotes"),
    (Json(), "[" * 100_000, f"{'[' * 100_000!r} is not JSON: quote it, and write names in double quotes"),
    (Speed(), "fast", "'fast' is not a speed: write max, or a factor such as 1 or 2.5"),
    (Speed(), -1, "-1 is not a speed: write max, or a factor above 0"),
    (Port(), "off", "'off' is not a port: write a number from 0 to 65535"),
    (Port(), 65536, "65536 is not a port: write a number from 0 to 65535"),
    (Port(), False, "False is not a port: write a number from 0 to 65535"),
    (Port(or_off=True), "on", "'on' is not a port: write a number from 0 to 65535, or off"),
]


@pytest.mark.parametrize(("kind", "value", "sentence"), WRONG)
def test_another_value_is_refused_with_the_way_out(kind: Kind, value: Any, sentence: str) -> None:
    """The message quotes the value, and says how to write one."""
    with pytest.raises(BadValue) as raised:
        kind.read(value)
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("text", "bound"),
    [("256MB", ("size", 256e6)), ("1 GiB", ("size", 2.0**30)), ("10m", ("age", 600.0)), ("500ms", ("age", 0.5))],
)
def test_a_rotation_is_a_size_or_a_duration(text: str, bound: tuple[str, float]) -> None:
    """By its unit."""
    assert Rotation.bound(text) == bound


@pytest.mark.parametrize("text", ["10", "0s", "0MB", "often", "", "10 bananas"])
def test_what_is_neither_is_refused(text: str) -> None:
    """A bare number could be either, and 0 would never end."""
    with pytest.raises(BadValue, match="neither a size nor a duration"):
        Rotation().read(text)
