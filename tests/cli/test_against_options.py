"""`drive --against`: runs by turns, each onto a cassette of its own, judged by gates; and mistakes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import replayproxy
from replayproxy import lifetime
from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.cli.against_options import folder_of_runs
from replayproxy.errors import SettingsError
from tests.cli.tapes import Read, chat, writing

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    """Six chats, 5 ms apart."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(*(chat(f"number {place}", started=5 * place, at=[1, 2, 3]) for place in range(6)))
    return path


@pytest.fixture
def server(cassette: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A replay of the same cassette; this process keeps its signals and its garbage collector."""
    monkeypatch.setattr(lifetime, "own_process", lambda: None)
    monkeypatch.setattr(lifetime, "listen_for_signals", lambda _: None)
    with replayproxy.replay(cassette) as running:
        yield running.base_url.removesuffix("/v1")


def test_runs_by_turns(read: Read, cassette: Path, server: str, tmp_path: Path) -> None:
    """A B A B: both runs of a pair send the same bytes, and each request meets its twin."""
    runs = tmp_path / "runs"
    options = ("--repeat", "2", "-o", runs, "--max-lateness", "60s", "--gate", "pairs == 12", "--salt", "run")
    ran = read("drive", cassette, "--against", server, "--against", server, *options, "--level", "none", "--json")
    assert sorted(path.name for path in runs.iterdir()) == [f"{n}-{side}.cassette" for n in (1, 2) for side in "ab"]
    assert (ran.code, json.loads(ran.out)["gates"][0]["verdict"]) == (0, "passed")
    bodies = {}
    for name in ("1-a", "1-b", "2-a"):
        with CassetteBrowser.open(runs / f"{name}.cassette") as browser:
            bodies[name] = {browser.request(row["number"]).body for row in browser.rows()}
    assert bodies["1-a"] == bodies["1-b"] != bodies["2-a"]


def test_a_run_that_says_nothing_ends_everything(read: Read, cassette: Path, server: str, tmp_path: Path) -> None:
    """A late driver: exit code 9 after the first run, and nothing is judged."""
    options = ("--repeat", "2", "-o", tmp_path / "runs", "--max-lateness", "0s")
    ran = read("drive", cassette, "--against", server, "--against", server, *options)
    assert (ran.code, "nothing is judged" in ran.err, ran.out) == (9, True, "")
    assert len(list((tmp_path / "runs").iterdir())) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "give --upstream URL, or --against URL twice"),
        (("--upstream", NOWHERE, "--against", NOWHERE), "give --upstream URL, or --against URL twice"),
        (("--upstream", NOWHERE, "--gate", "ttft <= 1.1"), "replayproxy compare"),
        (("--against", NOWHERE), "give the two servers"),
        (("--against", NOWHERE, "--against", NOWHERE), "name a new folder with -o"),
    ],
)
def test_mistakes_are_explained(read: Read, cassette: Path, options: tuple[str, ...], words: str) -> None:
    """Before anything is sent."""
    ran = read("drive", cassette, *options)
    assert ran.code == 2
    assert words in " ".join(ran.err.split())


def test_a_folder_with_runs_is_refused(tmp_path: Path) -> None:
    """Nor is a file one."""
    assert folder_of_runs(tmp_path / "new" / "runs").is_dir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path):
        with pytest.raises(SettingsError, match="is there already"):
            folder_of_runs(path)
