"""`verify --pair` for people, as JSON and as JUnit."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from replayproxy.core.pd.hand_over import CODES
from tests import recordings
from tests.cli.tapes import Read
from tests.core.pd.test_hand_over import decode, prefill
from tests.views.test_pair_check import exchange_of


@pytest.fixture
def reused(tmp_path: Path) -> Path:
    """Two hand-overs with one ticket."""
    return recordings.record(
        tmp_path / "reused.cassette", [exchange_of(prefill(), decode(), number=number) for number in range(2)]
    )


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """One hand-over as it should be."""
    return recordings.record(tmp_path / "clean.cassette", [exchange_of(prefill(), decode())])


def test_exit_codes(read: Read, reused: Path, clean: Path, tmp_path: Path) -> None:
    """0 clean, 5 found, 9 nothing to judge; of several cassettes the worst."""
    alone = recordings.record(tmp_path / "alone.cassette", recordings.chats(2))
    assert read("verify", clean, "--pair").code == 0
    assert read("verify", reused, "--pair").code == 5
    assert read("verify", alone, "--pair").code == 9
    assert read("verify", clean, alone, reused, "--pair").code == 5
    assert read("verify", tmp_path / "nothing", "--pair").code != 0


def test_the_page(read: Read, reused: Path, clean: Path) -> None:
    """The exchange, the code, what it means, the times."""
    out = read("verify", reused, "--pair").out
    assert "POST /v1/chat/completions ticket_reused: 'cmpl-1' was presented by" in out
    assert CODES["ticket_reused"] in out
    assert "2 hand-overs; 1 finding" in out
    assert "1 hand-over, each used once by its decode" in read("verify", clean, "--pair").out


def test_json(read: Read, reused: Path, clean: Path) -> None:
    """One object; of several cassettes one per line."""
    found = json.loads(read("verify", reused, "--pair", "--json").out)
    assert (found["verdict"], found["codes"], found["hand_overs"]) == ("failed", {"ticket_reused": 1}, 2)
    lines = read("verify", reused, clean, "--pair", "--json").out.splitlines()
    assert [json.loads(line)["verdict"] for line in lines] == ["failed", "passed"]


def test_junit(read: Read, reused: Path, clean: Path, tmp_path: Path) -> None:
    """One test case per code and cassette."""
    path = tmp_path / "pair.xml"
    read("verify", reused, clean, "--pair", "--junit", path)
    whole = ElementTree.parse(path).getroot()  # noqa: S314  we wrote it
    assert (whole.get("tests"), whole.get("failures"), whole.get("errors")) == (str(2 * len(CODES) + 2), "1", "0")
    failed = [case.get("name") for case in whole.iter("testcase") if case.find("failure") is not None]
    assert failed == ["ticket_reused"]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--json",), "only with --pair"),
        (("--junit", "x.xml"), "only with --pair"),
        (("--pair", "--secrets"), "run verify once for each"),
        (("--pair", "--self-match"), "run verify once for each"),
    ],
)
def test_mistakes_are_sentences(read: Read, clean: Path, flags: tuple[str, ...], sentence: str) -> None:
    """Exit code 2."""
    done = read("verify", clean, *flags)
    assert (done.code, sentence in done.err) == (2, True)


def test_no_report_replaces_a_cassette(read: Read, clean: Path) -> None:
    """Nor its own one."""
    assert read("verify", clean, "--pair", "--junit", clean).code == 2
