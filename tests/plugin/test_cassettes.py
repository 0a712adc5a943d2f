"""From the mode of a test to the settings of its proxy, and from the files that were recorded to cassettes."""

from __future__ import annotations

from pathlib import Path

import pytest

from replayproxy.core.policy import Mode
from replayproxy.proxy.result import RunResult
from replayproxy.pytest_plugin.cassettes import SuiteCassettes, keep_parts
from replayproxy.pytest_plugin.options import TestChoice, Unusable
from replayproxy.pytest_plugin.process_result import CassetteUse, ItemResult, ProcessResult
from tests import recordings

WORKER = {"workerid": "gw1", "testrunuid": "0123456789abcdef"}
LIVE = "http://127.0.0.1:9"


@pytest.fixture
def item(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Item:
    """A test."""
    monkeypatch.delenv("CI", raising=False)
    found = pytester.getitem("def test_asks(replayproxy): ...", "test_asks")
    assert isinstance(found, pytest.Item)
    return found


def record(path: Path, prompt: str = "hello") -> Path:
    """A cassette of one chat."""
    answer = recordings.said([recordings.whole_answer(prompt)])
    return recordings.record(path, [recordings.exchange(recordings.asked(prompt), answer, 0)])


MODES: list[tuple[str, bool, dict[str, str] | None, Mode, list[str], str | None]] = [
    # mode, whether the cassette exists, worker; then what is played, and what is recorded to
    ("none", True, None, Mode.REPLAY, ["a.cassette"], None),
    ("once", True, None, Mode.REPLAY, ["a.cassette"], None),
    ("once", False, None, Mode.AUTO, [], "a.cassette"),
    ("new_episodes", True, None, Mode.AUTO, [], "a.cassette"),
    ("all", True, None, Mode.AUTO, [], ".a.cassette.main-run.part"),
    ("rewrite", True, None, Mode.AUTO, [], "a.cassette"),
    ("once", False, WORKER, Mode.AUTO, [], ".a.cassette.gw1-01234567.part"),
    ("new_episodes", True, WORKER, Mode.AUTO, ["a.cassette"], ".a.cassette.gw1-01234567.part"),
    ("all", True, WORKER, Mode.AUTO, [], ".a.cassette.gw1-01234567.part"),
    ("none", True, WORKER, Mode.REPLAY, ["a.cassette"], None),
]


@pytest.mark.parametrize(("mode", "exists", "worker", "proxy_mode", "played", "onto"), MODES)
def test_a_mode_says_what_is_played_and_recorded(
    item: pytest.Item,
    tmp_path: Path,
    mode: str,
    exists: bool,
    worker: dict[str, str] | None,
    proxy_mode: Mode,
    played: list[str],
    onto: str | None,
) -> None:
    """The second test of a cassette gets the settings of the first, also when it has been recorded meanwhile."""
    target = tmp_path / "a.cassette"
    if exists:
        record(target)
    cassettes = SuiteCassettes(item.config, worker)
    choice = TestChoice(mode=mode, upstream=LIVE)
    settings = cassettes.settings(item, choice, target, named=False, narrowed=[])
    assert settings.mode is proxy_mode
    assert [path.name for path in settings.cassettes] == played
    assert (settings.recording.onto.name if settings.recording.onto else None) == onto
    assert target.exists() is (exists and mode != "rewrite")
    if not exists:
        record(target)
    assert cassettes.settings(item, choice, target, named=False, narrowed=[]) == settings
    assert cassettes.used == [target]


@pytest.mark.parametrize(
    ("choice", "named", "ci", "sentence"),
    [
        (TestChoice(), False, False, "there is no cassette .*Record it: pytest '.*' --replayproxy-mode once"),
        (TestChoice(mode="once"), False, False, "mode once records, and has no server to ask"),
        (TestChoice(mode="once", upstream=LIVE), False, True, "Mode once would record it, but the variable CI is set"),
        (TestChoice(mode="all", upstream=LIVE), False, True, "CI is set, and mode all would record"),
        (TestChoice(mode="all", upstream=LIVE), True, False, "mode all records all of .* not all tests of .* were"),
    ],
)
def test_what_cannot_be_had_says_what_to_do(
    item: pytest.Item,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    choice: TestChoice,
    named: bool,
    ci: bool,
    sentence: str,
) -> None:
    """Before a file is touched."""
    if ci:
        monkeypatch.setenv("CI", "true")
    cassettes = SuiteCassettes(item.config, None)
    file = item.nodeid.partition("::")[0]
    with pytest.raises(Unusable, match=sentence):
        cassettes.settings(item, choice, tmp_path / "a.cassette", named=named, narrowed=[file])
    assert not (tmp_path / "a.cassette").exists()


def process(mode: str, part: Path, recorded: int = 1) -> ProcessResult:
    """A process whose only test recorded to a part of a.cassette."""
    result = RunResult.empty("auto").document() | {"recorded": recorded}
    use = CassetteUse(mode, result, is_recorded=True, part=str(part))
    return ProcessResult(tests={"test_a": ItemResult("test_a", "a.cassette")}, cassettes={"a.cassette": use})


def test_a_cassette_is_replaced_when_its_tests_passed(tmp_path: Path) -> None:
    """In mode all; else it stays as it was, and no part is left in either case."""
    target = record(tmp_path / "a.cassette", "old")
    before = target.read_bytes()
    part = record(tmp_path / ".a.part", "new")
    notes, is_written = keep_parts(tmp_path, [process("all", part)], passed=set())
    assert (notes, is_written) == (["a.cassette is as it was: test_a did not pass"], True)
    assert target.read_bytes() == before
    part = record(tmp_path / ".a.part", "new")
    new = part.read_bytes()
    assert keep_parts(tmp_path, [process("all", part)], passed={"test_a"}) == ([], True)
    assert target.read_bytes() == new
    assert [path.name for path in tmp_path.iterdir()] == ["a.cassette"]


def test_a_part_that_cannot_be_read_stays(tmp_path: Path) -> None:
    """Its name is in the note: what was recorded is not lost."""
    target = record(tmp_path / "a.cassette", "old")
    before = target.read_bytes()
    part = tmp_path / ".a.part"
    part.write_bytes(b"not a cassette")
    notes, is_written = keep_parts(tmp_path, [process("new_episodes", part)], passed={"test_a"})
    assert not is_written
    assert notes[0].startswith("a.cassette is as it was: ")
    assert notes[0].endswith("What was recorded is in .a.part")
    assert (target.read_bytes(), part.exists()) == (before, True)
    assert keep_parts(tmp_path, [ProcessResult()], passed=set()) == ([], True)
