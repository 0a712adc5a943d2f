"""Tests of `pytest_plugin/options`: which of several values counts, and how an error spells its place."""

from __future__ import annotations

from typing import Any, cast

import pytest

from replayproxy.pytest_plugin.options import OF_RUN, OF_TEST, TestChoice, Unusable, add_options, choose


class Declared:
    """A `pytest.Parser` and a `pytest.Config`: declared options with their ini defaults, and what a run typed."""

    def __init__(self, typed: dict[str, Any] | None = None, ini: dict[str, Any] | None = None) -> None:
        self.typed = typed or {}
        self.options: dict[str, dict[str, Any]] = {}
        self.ini: dict[str, Any] = {}
        add_options(cast(pytest.Parser, self))
        self.ini |= {f"replayproxy_{name}": value for name, value in (ini or {}).items()}

    def getgroup(self, name: str, description: str) -> Declared:
        """One group is as good as another."""
        return self

    def addoption(self, flag: str, **attributes: Any) -> None:
        """Note an option."""
        self.options[flag] = attributes

    def addini(self, name: str, help: str, *, default: Any, **attributes: Any) -> None:
        """Note an ini key."""
        self.ini[name] = default

    def getoption(self, name: str) -> Any:
        """What was typed."""
        return self.typed.get(name.removeprefix("replayproxy_"))

    def getini(self, name: str) -> Any:
        """The value of the ini file."""
        return self.ini[name]


def chosen(
    marker: dict[str, Any], fixture: dict[str, Any], *, typed: dict[str, Any] | None = None, ini: Any = None
) -> TestChoice:
    """What counts."""
    return choose(cast(pytest.Config, Declared(typed, ini)), marker, fixture)


def test_without_anything_the_defaults_count() -> None:
    """Those of the table; a test of pytest misses at the end of its recordings, where the command line begins anew."""
    assert chosen({}, {}) == TestChoice()
    assert TestChoice() == TestChoice("none", None, None, 30.0, at_end="refuse", on_miss="refuse")


PRECEDENCE: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any], float]] = [
    ({"stall": "1"}, {"stall": 2}, {"stall": 3}, {"stall": "4"}, 1.0),
    ({}, {"stall": 2}, {"stall": 3}, {"stall": "4"}, 2.0),
    ({}, {}, {"stall": 3}, {"stall": "4"}, 3.0),
    ({}, {}, {}, {"stall": "4s"}, 4.0),
]


@pytest.mark.parametrize(("typed", "marker", "fixture", "ini", "stall"), PRECEDENCE)
def test_what_is_typed_counts_first_then_the_narrowest(
    typed: dict[str, Any], marker: dict[str, Any], fixture: dict[str, Any], ini: dict[str, Any], stall: float
) -> None:
    """Command line, marker, fixture, ini file."""
    assert chosen(marker, fixture, typed=typed, ini=ini).stall == stall


def test_one_text_is_one_value() -> None:
    """And not its letters."""
    assert chosen({"match_ignore": "$.user"}, {"redact": ["$.a", "$.b"]}) == TestChoice(
        match_ignore=("$.user",), redact=("$.a", "$.b")
    )


WRONG: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = [
    ({"stall": "soon"}, {}, {}, "--replayproxy-stall 'soon' is not a duration: write 200ms, 25s or 10m"),
    ({}, {}, {"speed": "fast"}, "replayproxy_speed 'fast' is not a speed: write max, or a factor such as 1 or 2.5"),
    ({}, {"mode": "ever"}, {}, "the marker replayproxy: mode 'ever' is not one of its values: choose from none, once,"),
    ({}, {"on_miss": "record"}, {}, "the marker replayproxy: on_miss 'record' is not one of its values: choose from"),
    ({}, {"spede": 1}, {}, "the marker replayproxy says 'spede', which is not known: did you mean speed?"),
]


@pytest.mark.parametrize(("typed", "marker", "ini", "sentence"), WRONG)
def test_an_error_names_the_place_of_the_value(
    typed: dict[str, Any], marker: dict[str, Any], ini: dict[str, Any], sentence: str
) -> None:
    """As it is spelled there."""
    with pytest.raises(Unusable) as raised:
        chosen(marker, {}, typed=typed, ini=ini)
    assert str(raised.value).startswith(sentence)


def test_every_setting_of_a_run_has_an_option_and_an_ini_key() -> None:
    """And each setting of a test is a field of `TestChoice`."""
    declared = Declared()
    assert set(declared.options) - {"--disable-replayproxy"} == {
        f"--replayproxy-{name.replace('_', '-')}" for name in OF_RUN
    }
    assert set(declared.ini) == {f"replayproxy_{name}" for name in OF_RUN}
    assert set(TestChoice.__annotations__) == set(OF_TEST)
