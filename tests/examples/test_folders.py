"""What every folder of `examples/` has: a README whose commands are understood, a row in docs/examples.md, recordings
that verify and hold no secret.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.apps import exchanges
from tests.cli.tapes import Read
from tests.examples.folders import EXAMPLES, ROOT, commands, ours, readme, understood

NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
CASSETTES = sorted(path for path in EXAMPLES.rglob("*.cassette") if "node_modules" not in path.parts)


def test_every_example_is_documented() -> None:
    """One row each, with a link."""
    page = (ROOT / "docs" / "examples.md").read_text()
    assert sorted(re.findall(r"^\| \[examples/(.+?)\]\(\.\./examples/\1\) \|", page, re.MULTILINE)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_command_in_its_readme_is_understood(name: str) -> None:
    """Every `replayproxy …`: nothing is run."""
    for script in commands(name):
        for words in ours(script):
            understood(words)


@pytest.mark.parametrize("name", NAMES)
def test_every_link_in_its_readme_leads_somewhere(name: str) -> None:
    """Within the repository."""
    for link in re.findall(r"\]\(((?!https?:)[^)#]+)", readme(name)):
        assert (EXAMPLES / name / link).exists(), link


@pytest.mark.parametrize("cassette", CASSETTES, ids=[str(path.relative_to(EXAMPLES)) for path in CASSETTES])
def test_its_recordings_are_whole_and_hold_no_secret(cassette: Path, read: Read) -> None:
    """What we tell others to do before they commit one."""
    ran = read("verify", "--secrets", cassette)
    assert ran.code == 0, ran.out + ran.err


@pytest.mark.parametrize("cassette", CASSETTES, ids=[str(path.relative_to(EXAMPLES)) for path in CASSETTES])
def test_nothing_of_the_machine_is_on_a_recording(cassette: Path) -> None:
    """No folder of a user, no name of a host: requests, answers and their headers, unpacked."""
    for exchange in exchanges(cassette):
        asked, said = exchange.request, exchange.response
        fields = [text for field in asked.headers + said.headers for text in field]
        texts = [asked.body.decode(), said.body.decode(), asked.target, *fields]
        assert not [text for text in texts if re.search(r"/(home|root|Users|tmp)/|\blocalhost\b|\.local\b", text)]
