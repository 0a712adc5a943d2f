"""Tests of `setting_table/row`: which default counts for whom, and what it is as a value."""

from __future__ import annotations

from replayproxy.setting_kinds import Duration, Flag, Port, Text
from replayproxy.setting_table.row import PYTHON, Setting

DRAIN = Setting("drain", Duration(), "Time to end.", default="25s", defaults={"exec": "2s", PYTHON: "5s"})


def test_a_default_may_differ_by_entry_point() -> None:
    """As one writes it; a verb that is not named has that of the row."""
    assert [DRAIN.default_for(entry) for entry in ("record", "exec", PYTHON)] == ["25s", "2s", "5s"]


def test_the_value_of_a_default_has_the_type_of_its_kind() -> None:
    """For a field of `Settings`; nothing given to a setting that may be repeated is an empty tuple."""
    assert DRAIN.value == 25.0
    assert Setting("port", Port(or_off=True), "A port.", default="off").value is None
    assert Setting("probe", Flag(), "Probe.", default=True).value is True
    assert Setting("uds", Text(), "A path.").value is None
    assert Setting("include", Text(), "Globs.", is_repeatable=True).value == ()
