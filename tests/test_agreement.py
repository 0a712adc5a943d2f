"""Tests of `agreement`: salt and rules are those of the cassette, and for a new one those of the options."""

from __future__ import annotations

import logging
from pathlib import Path

import click
import pytest

from replayproxy.api.options import redaction_rules
from replayproxy.app import App
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.cli.config_file import load_config
from replayproxy.cli.main import commands
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.redaction import Redactor
from replayproxy.errors import SettingsError
from replayproxy.model import Chunks, End, Ending, Head
from replayproxy.ports import ExchangePart
from replayproxy.settings import Settings
from tests.apps import exchanges, recording, replaying, run, running
from tests.doubles.fakes import EPOCH, JSON
from tests.doubles.upstreams import Send, answer, scripted
from tests.recordings import asked
from tests.wire import ask, post

CHAT = "/v1/chat/completions"


def recorded(cassette: Path, prompt: str, **more: object) -> None:
    """One exchange through a proxy."""

    async def record() -> None:
        async with scripted(Send(answer("200 OK", b'{"said":"cust-123456"}')), again=True) as server:
            async with running(recording(cassette, server.url, **more)) as proxy:
                assert (await ask(proxy.url, post(CHAT, {"prompt": prompt}))).status == 200

    run(record())


def old(cassette: Path) -> None:
    """A cassette that is older than redaction, with one exchange."""
    keeper = CassetteWriter(cassette, Matcher(MatchRules()))
    keeper.begin()
    keeper.keep(
        ExchangePart(1, asked("hello"), EPOCH, Head(1, 200, JSON), Chunks(b"{}", (2,), (2,)), End(3, Ending.COMPLETE)),
    )
    keeper.commit()
    keeper.seal()


def statuses(settings: Settings, *prompts: str) -> list[int]:
    """What a replay answers."""

    async def replay() -> list[int]:
        async with running(settings) as proxy:
            return [(await ask(proxy.url, post(CHAT, {"prompt": prompt}))).status for prompt in prompts]

    return run(replay())


def test_the_rules_stand_on_the_cassette(tmp_path: Path) -> None:
    """Who records further, or replays, need not say them again; and finds what was asked with them."""
    cassette = tmp_path / "a.cassette"
    recorded(cassette, "for cust-111111", redact=("re:cust-[0-9]{6}",))
    recorded(cassette, "for cust-222222")
    with CassetteReader(cassette) as opened:
        assert opened.redactor is not None
        assert opened.redactor.rules == ("re:cust-[0-9]{6}",)
        assert len(opened.redactor.salt) == 16
    assert all(b"cust-" not in one.request.body + one.response.body for one in exchanges(cassette))
    assert statuses(replaying(cassette), "for cust-111111", "for cust-222222", "for cust-333333") == [200, 200, 404]


def test_each_cassette_has_a_salt_of_its_own(tmp_path: Path) -> None:
    """The same secret has another hash there."""
    bodies = []
    for name in ("a", "b"):
        recorded(tmp_path / name, "sk-proj-" + "aB3" * 12)
        bodies += [one.request.body for one in exchanges(tmp_path / name)]
    assert bodies[0] != bodies[1]
    assert len(bodies[0]) == len(bodies[1])


def test_other_rules_are_refused(tmp_path: Path) -> None:
    """With the way out; the same ones may be said again."""
    cassette = tmp_path / "a.cassette"
    recorded(cassette, "x", redact=("$.user",))
    recorded(cassette, "y", redact=("$.user",))
    with pytest.raises(SettingsError, match=r"other redaction rules \(\$\.user\).*replayproxy redact"):
        App(recording(cassette, "http://127.0.0.1:9", redact=("$.other",)))


def test_a_cassette_that_is_older_replays_and_is_not_recorded_further(tmp_path: Path) -> None:
    """Its keys were made of what was asked: two kinds of keys on one cassette would miss in silence."""
    cassette = tmp_path / "old.cassette"
    old(cassette)
    with pytest.raises(SettingsError, match="before secrets were masked: run `replayproxy redact"):
        App(recording(cassette, "http://127.0.0.1:9"))

    async def replay() -> int:
        async with running(replaying(cassette)) as proxy:
            return (await ask(proxy.url, asked("hello"))).status

    assert run(replay()) == 200


def test_cassettes_with_different_salts_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Requests with a secret are compared by the first one's; all others match as ever."""
    paths = [tmp_path / "a.cassette", tmp_path / "b.cassette"]
    for path in paths:
        recorded(path, f"only on {path.name}")
    with caplog.at_level(logging.WARNING):
        assert statuses(replaying(*paths), "only on a.cassette", "only on b.cassette") == [200, 200]
    assert [record.getMessage() for record in caplog.records] == [
        f"{paths[1]} was recorded with another salt or other rules of redaction than the first cassette: a request"
        " with a secret may not match its recordings"
    ]


def test_rules_may_stand_in_the_file_of_settings(tmp_path: Path) -> None:
    """As a list, or as one."""
    group = click.Group(commands={str(command.name): command for command in commands()})
    config = tmp_path / "replayproxy.yaml"
    for said, rules in (("['re:a b', '$.user']", ("re:a b", "$.user")), ("re:x", ("re:x",))):
        config.write_text(f"record:\n  redact: {said}\n")
        assert redaction_rules(load_config(group, config)["record"]["redact"]) == rules


def test_a_redactor_compares_as_its_cassette_says() -> None:
    """The same salt, the same mask, on whatever machine."""
    request = asked("sk-proj-" + "aB3" * 12)
    assert Redactor(b"salt").request(request) == Redactor(b"salt").request(request)
    assert Redactor(b"salt").request(request) != Redactor(b"other").request(request)
