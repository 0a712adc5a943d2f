"""Tests of `api/keywords`: the file is what the table of settings says."""

from __future__ import annotations

from typing import Literal, get_type_hints

from replayproxy.api.keywords import AutoOptions, ReplayOptions, SimulateOptions
from tools import keywords


def test_the_file_is_what_would_be_written() -> None:
    """`make reference` would change nothing."""
    assert keywords.FILE.read_text("utf-8") == keywords.keywords(), "run `make reference`"


def test_types_are_those_that_a_program_may_give() -> None:
    """Of each kind one."""
    types = get_type_hints(AutoOptions) | get_type_hints(SimulateOptions) | get_type_hints(ReplayOptions)
    assert types["drain"] == float | str
    assert types["max_body"] == int | str
    assert types["speed"] == float | Literal["max"] | None
    assert types["admin_port"] == int | Literal["off"] | None
    assert types["at_end"] == Literal["cycle", "last", "refuse"]
    assert (types["seed"], types["jitter"], types["probe"], types["host"]) == (int, float, bool, str)
