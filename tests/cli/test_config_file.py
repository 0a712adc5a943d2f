"""Tests of `cli/config_file`: keys are the long flags of a verb, each written once; anything else is a mistake."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from replayproxy.cli.config_file import load_config
from replayproxy.cli.main import replayproxy
from replayproxy.setting_table import of_verb
from tests.cli.tapes import Read


def load(tmp_path: Path, text: str) -> dict[str, object]:
    """The defaults that a file gives to click."""
    config = tmp_path / "c.yaml"
    config.write_text(text)
    group = replayproxy
    assert isinstance(group, click.Group)
    return dict(load_config(group, config))


@pytest.mark.parametrize("verb", ["record", "replay", "auto", "simulate", "exec"])
def test_every_setting_of_a_verb_is_a_key(tmp_path: Path, verb: str) -> None:
    """Spelled as its flag, without the hyphens before it; one value of a setting that may be repeated is a list."""
    rows = of_verb(verb)
    lines = "".join(f"  {row.name.replace('_', '-')}: 1\n" for row in rows)
    assert load(tmp_path, f"{verb}:\n{lines}") == {verb: {row.name: [1] if row.is_repeatable else 1 for row in rows}}


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    """Nor does one with comments only."""
    assert load(tmp_path, "") == load(tmp_path, "# record:\n") == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("recrod:\n  port: 1\n", "there is no verb 'recrod' (did you mean record?)"),
        ("record:\n  prot: 1\n", "record has no option 'prot' (did you mean port?)"),
        ("simulate:\n  upstream: http://a\n", "simulate has no option 'upstream'"),
        ("record: 1\n", "section record must have keys, such as `port: 8080`"),
        ("- record\n", "must have one section"),
    ],
)
def test_a_mistake_is_refused_with_the_nearest_name(tmp_path: Path, text: str, sentence: str) -> None:
    """A key that is ignored would be worse."""
    with pytest.raises(click.UsageError) as raised:
        load(tmp_path, text)
    assert sentence in str(raised.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("record:\n  upstream: http://a\n  upstream: http://b\n", "upstream stands there twice"),
        ("record:\n  port: 1\nrecord:\n  port: 2\n", "record stands there twice"),
        ("record:\n  upstream: [http://a, http://b]\n", "upstream takes one value"),
        ("record:\n  include: {a: b}\n", "include takes one value"),
        ("\xff", "is not UTF-8"),
    ],
)
def test_a_config_file_says_things_once(read: Read, mixed: Path, tmp_path: Path, text: str, sentence: str) -> None:
    """The second would count, and the first be forgotten."""
    config = tmp_path / "c.yaml"
    config.write_bytes(text.encode("latin-1"))
    ran = read("--config", config, "ls", mixed)
    assert (ran.code, sentence in " ".join(ran.err.split())) == (2, True)
