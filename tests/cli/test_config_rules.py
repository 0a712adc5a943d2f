"""Rules go into a configuration file line by line: comments and other keys stay, and it reads as meant."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from replayproxy.cli.config_rules import VERBS, write_rules
from replayproxy.errors import SettingsError

RULES = {"match-ignore": ["$.x_run"], "match-normalise": ["tool-call-id", r'today=Today is "\d+"']}


def test_a_new_file_has_a_section_per_verb(tmp_path: Path) -> None:
    """All that match requests."""
    path = tmp_path / "new.yaml"
    assert write_rules(path, RULES) == list(VERBS)
    assert yaml.safe_load(path.read_text()) == dict.fromkeys(VERBS, RULES)


FILES = [
    ("replay:\n  port: 8080\n", ["replay"]),
    ("# mine\nreplay:  # here\n    port: 8080\n\n# the next\nls:\n  sort: ttft\n", ["replay"]),
    ("exec:\n  match-ignore:\n  - $.a\n  port: 1\nreplay:\n", ["replay", "exec"]),
    ("replay:\n  match-normalise:\n    # why\n  port: 1\n", ["replay"]),
    ("replay:\n  match-normalise:\n    - tool-call-id\n", ["replay"]),
    ("ls:\n  sort: ttft", list(VERBS)),
]


@pytest.mark.parametrize(("text", "sections"), FILES)
def test_what_was_there_stays(tmp_path: Path, text: str, sections: list[str]) -> None:
    """Every line, in its order; rules that are there already are not there twice; a second time changes nothing."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    before = yaml.safe_load(text)
    assert write_rules(path, RULES) == sections
    written = path.read_text()
    lines = iter(written.splitlines())
    assert all(line in lines for line in text.splitlines()), written
    after = yaml.safe_load(written)
    for section in sections:
        was = before.get(section) or {}
        assert after[section] == {
            **was,
            **{key: list(dict.fromkeys([*(was.get(key) or []), *values])) for key, values in RULES.items()},
        }
    assert {name: value for name, value in after.items() if name not in sections} == {
        name: value for name, value in before.items() if name not in sections
    }
    write_rules(path, RULES)
    assert path.read_text() == written


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("replay: {port: 1}\n", "add this:\nreplay:"),
        ("replay:\n  match-ignore: [$.a]\n", "add this"),
        ("replay:\n  match-ignore: $.a\n", "add this"),
        ("- a\n", "one section per verb"),
        ("replay: 5\n", "one section per verb"),
        ("replay: [\n", "is not YAML"),
    ],
)
def test_what_cannot_be_extended_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    """And stays as it was; the lines to add are in the sentence."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as refused:
        write_rules(path, RULES)
    assert sentence in str(refused.value)
    assert path.read_text() == text
