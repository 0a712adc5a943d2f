"""Each configuration in examples/pair drives a pair of its kind, as it stands there, with only its URLs replaced."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click
import pytest
import yaml

from replayproxy.api.options import settings_of
from replayproxy.cli.config_file import load_config
from replayproxy.cli.main import commands
from replayproxy.core.pd import PROTOCOLS
from replayproxy.core.policy import Mode
from replayproxy.settings import Pair, Settings
from tests import wire
from tests.apps import exchanges, replaying, run, running
from tests.doubles.pair_double import pair
from tests.doubles.pair_model import CHAT
from tests.pair_questions import answer_to, ask, said

FOLDER = Path(__file__).parent.parent / "examples" / "pair"
README = (FOLDER / "README.md").read_text()
CONFIGS = sorted(FOLDER.glob("*.yaml"))
VERBS = {command.name or "": command for command in commands()}


def settings_by(config: Path, cassette: Path, *flags: str) -> Settings:
    """What `replayproxy --config CONFIG record CASSETTE FLAGS…` would serve with."""
    defaults = load_config(click.Group(commands=VERBS), config)["record"]
    options = VERBS["record"].make_context("record", [str(cassette), *flags], default_map=defaults).params
    return settings_of(Mode.RECORD, (options.pop("cassette"),), options)


def pair_of(config: Path) -> Pair:
    """The pair that a configuration describes, as it stands there."""
    described = settings_by(config, Path("any.cassette")).pair
    assert described is not None
    return described


def test_there_is_a_configuration_for_each_protocol() -> None:
    """Of its name, for the verb `record`, and with nothing left to be found out but the URLs."""
    assert [config.stem for config in CONFIGS] == sorted(PROTOCOLS)
    for config in CONFIGS:
        assert pair_of(config).protocol == config.stem
        assert set(yaml.safe_load(config.read_text())) == {"record"}
        assert f"replayproxy --config examples/pair/{config.name} record pair.cassette" in config.read_text()


@pytest.mark.parametrize("config", CONFIGS, ids=[config.stem for config in CONFIGS])
def test_a_configuration_works(tmp_path: Path, config: Path) -> None:
    """Streamed and not, by a hand-over each time; and replayed without the servers."""
    described = pair_of(config)
    cassette = tmp_path / "pair.cassette"
    requests = [ask(CHAT, f"question {number}", stream=number % 2 == 0) for number in range(6)]
    # A network of this process's own, because the bootstrap port is the configuration's.
    network = f"127.{1 + os.getpid() // 250 % 250}.{1 + os.getpid() % 250}"

    async def dialogue() -> None:
        async with pair(
            described.protocol,
            prefills=len(described.prefill),
            decodes=len(described.decode),
            bootstrap_port=described.bootstrap_port,
            network=network,
        ) as double:
            if described.protocol == "addr-id":
                double.name_connectors(described.prefill_kv, described.decode_kv)
            flags = [word for server in double.servers for word in (f"--{server.role}", server.url)]
            async with running(settings_by(config, cassette, *flags)) as proxy:
                live = [await wire.ask(proxy.url, request) for request in requests]
            assert [said(answer.body) for answer in live] == [answer_to(request) for request in requests]
            assert double.counts["read"] == len(requests)
            assert not any(server.counts["local_prefills"] for server in double.decodes)
            assert all(server.counts["requests"] for server in double.servers)
        async with running(replaying(cassette)) as proxy:
            again = [await wire.ask(proxy.url, request) for request in requests]
        assert [answer.body for answer in again] == [answer.body for answer in live]

    run(dialogue())
    assert [[leg.role for leg in exchange.legs] for exchange in exchanges(cassette)] == [["prefill", "decode"]] * 6


def test_every_flag_in_the_readme_exists() -> None:
    """Save those of vLLM and SGLang."""
    known = {flag for verb in VERBS.values() for parameter in verb.params for flag in parameter.opts} | {"--config"}
    assert set(re.findall(r"--[a-z][a-z-]+", README)) - known == {"--disaggregation-mode"}


def test_the_readme_names_every_protocol_and_links_its_configuration() -> None:
    """One row each."""
    assert sorted(re.findall(r"\| \[(.+?)\]\((.+?)\.yaml\) \|", README)) == sorted((name, name) for name in PROTOCOLS)


@pytest.mark.parametrize("line", re.findall(r"^    replayproxy (.+?)(?:\s{2,}.*)?$", README, re.MULTILINE))
def test_every_example_in_the_readme_parses(line: str) -> None:
    """Nothing is run; the words are understood."""
    words = line.split()
    if words[0] == "--config":
        assert (FOLDER.parent.parent / words[1]).exists()
        words = [*words[2:], "--upstream", "http://127.0.0.1:8000"]
    VERBS[words[0]].make_context(words[0], words[1:])
