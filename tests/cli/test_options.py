"""Tests of `cli/options`: what may be given once, and what the environment may hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from replayproxy.cli.main import replayproxy
from replayproxy.cli.options import Option, is_service_link, leaves
from tests.cli.tapes import Read
from tests.examples.folders import VERBS

LINKS = [
    # What Kubernetes sets for a Service `replayproxy` with two ports
    ("REPLAYPROXY_SERVICE_HOST", "10.0.0.5"),
    ("REPLAYPROXY_SERVICE_PORT", "8080"),
    ("REPLAYPROXY_SERVICE_PORT_HTTP", "8080"),
    ("REPLAYPROXY_SERVICE_PORT_ADMIN_WEB", "8081"),
    ("REPLAYPROXY_PORT", "tcp://10.0.0.5:8080"),
    ("REPLAYPROXY_PORT_8080_TCP", "tcp://10.0.0.5:8080"),
    ("REPLAYPROXY_PORT_8080_TCP_PROTO", "tcp"),
    ("REPLAYPROXY_PORT_8080_TCP_PORT", "8080"),
    ("REPLAYPROXY_PORT_8080_TCP_ADDR", "10.0.0.5"),
    ("REPLAYPROXY_PORT_53_UDP_ADDR", "fd00::5"),
    ("REPLAYPROXY_PORT_9_SCTP", "sctp://[fd00::5]:9"),
    # For `replayproxy-admin` and `replayproxy-real-vllm`: the first one's PORT is the name of an option
    ("REPLAYPROXY_ADMIN_PORT", "tcp://10.0.0.6:8081"),
    ("REPLAYPROXY_ADMIN_SERVICE_HOST", "10.0.0.6"),
    ("REPLAYPROXY_ADMIN_PORT_8081_TCP_ADDR", "10.0.0.6"),
    ("REPLAYPROXY_BOOTSTRAP_PORT", "tcp://10.0.0.7:8998"),
    ("REPLAYPROXY_REAL_VLLM_SERVICE_PORT", "8000"),
    ("REPLAYPROXY_REAL_VLLM_PORT", "udp://10.0.0.7:8000"),
    ("REPLAYPROXY_CANARY_SERVICE_HOST", "1"),
    ("REPLAYPROXY_CANARY_PORT_80_TCP_PROTO", "tcp"),
    ("REPLAYPROXY_CANARY_2_PORT_80_TCP", "tcp://10.0.0.8:80"),
]

NO_LINKS = [
    ("REPLAYPROXY_PORT", "9000"),
    ("REPLAYPROXY_PORT", "tcp:9000"),
    ("REPLAYPROXY_HOST", "10.0.0.5"),
    ("REPLAYPROXY_PROT", "tcp://10.0.0.5:8080"),
    ("REPLAYPROXY_SERVICE_HSOT", "10.0.0.5"),
    ("REPLAYPROXY_PORT_8080_TCP_ADDRESS", "10.0.0.5"),
    ("REPLAYPROXY_UPSTREAM", "tcp://10.0.0.5:8080"),
    ("REPLAYPROXY_SPED", "1"),
    ("REPLAYPROXYPORT", "tcp://10.0.0.5:8080"),
]


@pytest.mark.parametrize(("variable", "value"), LINKS)
def test_a_service_link_is_ignored(
    monkeypatch: pytest.MonkeyPatch, read: Read, mixed: Path, variable: str, value: str
) -> None:
    """Whoever calls a Service `replayproxy` can still run it: a verb with the option, and one without."""
    assert is_service_link(variable, value)
    monkeypatch.setenv(variable, value)
    assert read("ls", mixed).code == 0
    assert _value_of("simulate", "port") == 8000
    assert _value_of("replay", "admin_port") == 8081
    assert _value_of("record", "bootstrap_port") == 8998


@pytest.mark.parametrize(("variable", "value"), NO_LINKS)
def test_what_only_looks_like_one_counts_as_before(variable: str, value: str) -> None:
    """An option stays an option, and a misspelt one stays a mistake."""
    assert not is_service_link(variable, value)


def test_an_option_and_a_mistake_beside_links(monkeypatch: pytest.MonkeyPatch, read: Read, mixed: Path) -> None:
    """All of them are set in a pod; what somebody has written counts all the same."""
    for variable, value in LINKS:
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("REPLAYPROXY_PORT", "9000")
    assert _value_of("simulate", "port") == 9000
    monkeypatch.setenv("REPLAYPROXY_SERVICE_HSOT", "10.0.0.5")
    ran = read("ls", mixed)
    assert (ran.code, "REPLAYPROXY_SERVICE_HSOT is not known" in ran.err) == (2, True)


def _value_of(verb: str, name: str) -> object:
    """What a verb would be called with; nothing is run."""
    words = {"simulate": [], "replay": ["a"], "record": ["a"]}[verb]
    with VERBS[verb].make_context(verb, words, parent=click.Context(replayproxy)) as context:
        return context.params[name]


# Once


def _single() -> Iterator[tuple[str, click.Option]]:
    for verb, command in VERBS.items():
        for parameter in (parameter for leaf in leaves(command) for parameter in leaf.params):
            if isinstance(parameter, click.Option) and not (parameter.multiple or parameter.is_flag or parameter.count):
                yield verb, parameter


def test_every_option_that_holds_one_value_is_ours() -> None:
    """Of every verb: none of them is click's own, whose last value wins whatever it names."""
    assert [f"{verb} {one.opts[0]}" for verb, one in _single() if not isinstance(one, Option)] == []
    assert len(list(_single())) > 80


NAMES_SOMETHING = {
    *("--admin", "--api-key-file", "--decode", "--front", "--junit", "--keep", "--output", "--prefill", "--ready-file"),
    *("--report", "--ssl-certfile", "--ssl-keyfile", "--uds", "--unused", "--upstream", "--where"),
    *("--admin-token-file", "--answers-from", "--fit", "--html", "--markdown", "--misses", "--token-file", "--write"),
    *("--logs", "--save-json", "--save-results"),
}


def test_which_options_are_chosen_once() -> None:
    """Those that name a server, a file or a condition. Of any other the last value counts."""
    chosen_once = {one.opts[-1] for _, one in _single() if isinstance(one, Option) and one.is_chosen_once}
    assert chosen_once == NAMES_SOMETHING


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (("replay", "a", "--port", "0", "--port", "8080"), {"port": 8080}),
        (("replay", "a", "--speed", "1", "--speed", "max", "--speed=2"), {"speed": 2.0}),
        (("replay", "a", "--at-end", "last", "--at-end", "cycle", "--stall", "1s", "--stall", "5"), {"stall": 5.0}),
        (("record", "a", "--admin-port", "off", "--admin-port", "0", "--host", "::1", "--host", "x"), {"host": "x"}),
        (("simulate", "--model", "a", "--model", "b", "--seed", "1", "--seed", "2"), {"model": "b", "seed": 2}),
        (("ls", "a", "-n", "5", "--limit", "7", "--sort", "id", "--sort", "total"), {"limit": 7, "sort": "total"}),
    ],
)
def test_the_last_value_counts(words: tuple[str, ...], values: dict[str, object]) -> None:
    """A wrapper script has defaults, and its user adds what is to be otherwise."""
    verb, *rest = words
    with VERBS[verb].make_context(verb, rest, parent=click.Context(replayproxy)) as context:
        assert {name: context.params[name] for name in values} == values


def test_the_last_value_is_the_one_that_is_checked(read: Read) -> None:
    """As in click; and a first one that is no value is no mistake any more."""
    assert "not a port" in read("replay", "a.cassette", "--port", "8080", "--port", "x").err
    assert "not a port" not in read("replay", "a.cassette", "--port", "x", "--port", "8080").err


TWICE = [
    ("record", "a.cassette", "--upstream", "http://a", "--upstream", "http://b"),
    ("record", "a.cassette", "--upstream=http://a", "--upstream=http://a", "--upstream=http://b"),
    ("replay", "a.cassette", "--uds", "a", "--uds", "b"),
    ("ctl", "status", "--admin", "http://a", "--admin", "http://b"),
    ("prune", "a.cassette", "--where", "1", "--where", "0"),
    ("exec", "a.cassette", "--report", "a.json", "--report", "b.json", "--", "true"),
    ("ls", "a.cassette", "--where", "1", "--where", "0"),
    ("show", "a.cassette", "-o", "a", "--output", "b"),
    ("prune", "a.cassette", "--unused", "a.json", "--unused", "b.json"),
    ("join", "out", "--prefill", "a", "--prefill", "b", "--decode", "c"),
    ("--config", "a.yaml", "--config", "b.yaml", "ls", "a.cassette"),
]


@pytest.mark.parametrize("words", TWICE, ids=" ".join)
def test_two_values_for_one_are_refused(read: Read, words: tuple[str, ...]) -> None:
    """The first would be left out without a word."""
    ran = read(*words)
    assert (ran.code, "takes one value and is given several" in " ".join(ran.err.split())) == (2, True)


def test_the_same_value_twice_is_one_value(read: Read, mixed: Path) -> None:
    """A script may add a flag that is there already; and what may be repeated still may."""
    assert (
        read("ls", mixed, "-n", "1", "--limit", "1", "--where", "status = :s AND 1 = :o", *("-p", "s", "200")).code == 2
    )
    assert read("ls", mixed, "-n", "1", "--limit", "1").code == 0
    where = ("--where", "status = :s AND 1 = :o", "-p", "s", "200", "-p", "o", "1")
    assert read("ls", mixed, *where).code == 0


def test_simulate_and_record_run_side_by_side() -> None:
    """With their defaults: a server on 8000 without an admin port, and a recorder in front of it."""
    assert (_value_of("simulate", "port"), _value_of("simulate", "admin_port")) == (8000, -1)
    assert (_value_of("record", "port"), _value_of("record", "admin_port")) == (8080, 8081)
