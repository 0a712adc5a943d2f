"""`redact`, `verify --secrets` and `--redact`: what they say, what they exit with, and that they never say a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from replayproxy.api.options import redaction_rules, settings_of
from replayproxy.core.policy import Mode
from replayproxy.errors import SettingsError
from tests.cli.tapes import Read, chat, writing

SECRET = "sk-proj-" + "aB3" * 12


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    """One exchange with a key in its prompt and spread over its answer."""
    path = tmp_path / "leaky.cassette"
    with writing(path) as keep:
        keep(
            chat(f"use {SECRET} for cust-123456", words=["ok ", *(SECRET[at : at + 4] for at in range(0, 44, 4)), "."])
        )
    return path


def test_a_secret_is_exit_code_6_and_a_place(read: Read, leaky: Path) -> None:
    """Which exchange, where in it, and of which kind."""
    assert read("verify", leaky).code == 0
    ran = read("verify", leaky, "--secrets")
    assert ran.code == 6
    assert "request $.messages[0].content holds a secret (sk- key): take it out with `replayproxy redact" in ran.out
    assert "answer event 2 holds a secret (sk- key)" in ran.out
    assert SECRET not in ran.out + ran.err


def test_redact_says_what_it_has_masked(read: Read, leaky: Path) -> None:
    """How often, of which kind; afterwards nothing is found."""
    ran = read("redact", leaky, "--redact", "re:cust-[0-9]{6}")
    assert ran.code == 0
    assert ran.err == (
        f"{leaky}: 1 exchange written anew, masked: sk- key 2, --redact re: 1; searched again: no secret found\n"
    )
    ran = read("verify", leaky, "--secrets")
    assert (ran.code, ran.out) == (0, f"{leaky}: 1 exchange, all as they were written, no secret found\n")
    assert "redaction  credentials, known keys   re:cust-[0-9]{6}" in read("info", leaky).out
    assert '"salt"' not in read("info", leaky, "--json").out
    assert read("redact", leaky).err.endswith("nothing to mask; searched again: no secret found\n")


def test_rules_may_stand_in_a_file(tmp_path: Path) -> None:
    """One a line, with comments; a rule that is said twice counts once."""
    file = tmp_path / "rules"
    file.write_text("# customers\nre:cust-[0-9]{6}\n\n  $.user  \n")
    assert redaction_rules(["header:x-a", f"@{file}", "$.user"]) == ("header:x-a", "re:cust-[0-9]{6}", "$.user")
    with pytest.raises(SettingsError, match="cannot be read"):
        redaction_rules([f"@{tmp_path / 'missing'}"])


@pytest.mark.parametrize("verb", ["record", "auto", "replay"])
def test_the_serving_verbs_take_rules(verb: str) -> None:
    """From the flag, as from the file of settings."""
    from replayproxy.cli.main import commands

    command = next(command for command in commands() if command.name == verb)
    words = ["a.cassette", "--redact", "re:x", "--redact", "$.y"]
    context = command.make_context(verb, [*words, *([] if verb == "replay" else ["--upstream", "http://h:1"])])
    options = dict(context.params)
    cassette = options.pop("cassette")
    paths = cassette if isinstance(cassette, tuple) else (cassette,)
    assert settings_of(Mode(verb), paths, options).redact == ("re:x", "$.y")


def test_a_rule_that_makes_no_sense_is_exit_code_2(read: Read, leaky: Path) -> None:
    """With what to write instead."""
    ran = read("redact", leaky, "--redact", "cookie")
    assert ran.code == 2
    assert "write header:NAME, $.json.path or re:REGEX" in ran.err
