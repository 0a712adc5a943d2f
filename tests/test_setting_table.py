"""Tests of `setting_table`: its words are those of the core, and the entry points have what its rows say."""

from __future__ import annotations

import subprocess
import sys
from typing import get_type_hints

import click
import pytest

from replayproxy.api.options import OPTIONS
from replayproxy.cli.main import verb_named
from replayproxy.cli.options import PREFIX
from replayproxy.cli.terminal import messages
from replayproxy.core.headers import NOT_STORED_IN_WORDS
from replayproxy.core.identity.normalise import BUILT_IN
from replayproxy.core.pd import PROTOCOLS
from replayproxy.core.policy import Mode, OnMiss
from replayproxy.core.sequence import AtEnd
from replayproxy.core.timing import STALL
from replayproxy.net.limits import Limits
from replayproxy.setting_kinds import Choice, Flag
from replayproxy.setting_table import TABLE, default, flag, of_python, of_verb
from replayproxy.settings import Faulting, Listen, Pair, RecordingSettings, Replaying, Settings
from replayproxy.simulator.generation import TextSettings, ToolRanges
from replayproxy.simulator.latency import Latency
from replayproxy.simulator.options import Simulation
from replayproxy.simulator.state_options import StateOptions

VERBS = sorted({verb for row in TABLE.values() for verb in row.verbs})


def test_words_are_those_of_the_core() -> None:
    """The table imports nothing of it, so that pytest and `--help` load it quickly."""
    assert TABLE["pd"].kind == Choice(tuple(PROTOCOLS))
    assert TABLE["at_end"].kind == Choice(tuple(AtEnd))
    assert TABLE["on_miss"].kind == Choice(tuple(OnMiss))
    assert TABLE["log_format"].kind == Choice(tuple(messages.FORMATS))
    assert NOT_STORED_IN_WORDS in TABLE["keep_header"].meaning
    assert ", ".join(BUILT_IN) in TABLE["match_normalise"].meaning
    assert default("stall") == STALL


def test_limits_have_the_defaults_of_the_table() -> None:
    """`net` stands below the table, and has its own."""
    rows = [row for row in TABLE.values() if row.goes_to is not None and row.goes_to.startswith("listen.limits.")]
    found = {str(row.goes_to).rpartition(".")[2]: row.value for row in rows}
    assert Limits(**found) == Limits()
    assert set(found) == set(get_type_hints(Limits))


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_the_options_of_the_table(verb: str) -> None:
    """With flag, variable, default and meaning; an option of the table that a verb forgot would not be found."""
    options = {
        option.name: option
        for option in verb_named(verb).params
        if isinstance(option, click.Option) and option.name in TABLE
    }
    assert set(options) >= {row.name for row in of_verb(verb)}
    for row in of_verb(verb):
        option = options[row.name]
        assert flag(row.name) in option.opts
        assert (option.envvar, option.multiple) == (PREFIX + row.name.upper(), row.is_repeatable)
        assert option.help == row.meanings.get(verb, row.meaning)
        if row.default_for(verb) is not None and not isinstance(row.kind, Flag):
            assert option.default == row.default_for(verb)


@pytest.mark.parametrize("mode", OPTIONS)
def test_keywords_are_those_of_the_table(mode: Mode) -> None:
    """The types of the keywords are written down once more, for type checkers; their names are the table's."""
    assert set(OPTIONS[mode].__annotations__) == {row.name for row in of_python(mode.value)}


SECTIONS: dict[str, type] = {
    "": Settings,
    "listen": Listen,
    "listen.limits": Limits,
    "pair": Pair,
    "recording": RecordingSettings,
    "replaying": Replaying,
    "faulting": Faulting,
    "simulation": Simulation,
    "simulation.latency": Latency,
    "simulation.state": StateOptions,
    "simulation.text": TextSettings,
    "simulation.text.ranges": ToolRanges,
}


def test_a_value_goes_to_a_field_of_settings() -> None:
    """That exists; and no field gets two values, except latencies, which have a short name and that of the peers."""
    places = [row.goes_to for row in TABLE.values() if row.goes_to is not None]
    for place in places:
        section, _, name = place.rpartition(".")
        assert name in get_type_hints(SECTIONS[section]), place
    twice = sorted(place for place in set(places) if places.count(place) > 1)
    assert twice == ["simulation.latency.itl", "simulation.latency.ttft"]


def test_every_default_can_be_read() -> None:
    """By its own kind, also where a verb has another one."""
    for row in TABLE.values():
        for text in (row.default, *row.defaults.values()):
            if text is not None:
                row.kind.read(text)


def test_the_table_loads_nothing_else() -> None:
    """Every run of pytest loads it."""
    code = "import replayproxy.setting_table, sys; print(*[name for name in sys.modules if name.startswith('replayp')])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    packages = {".".join(name.split(".")[:2]) for name in ran.stdout.split()}
    assert packages == {"replayproxy", "replayproxy.setting_kinds", "replayproxy.setting_table"}
