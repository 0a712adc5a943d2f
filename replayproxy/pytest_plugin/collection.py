"""Which tests a run has: those that were selected, those that were left out, and the cassettes that both may use.

    command line, ini ─┐
    collected items ───┼─▶ CollectedTests ─▶ which recordings and cassettes may be called unused
    deselected items ──┘

Without it a run of one test would call the recordings of all others unused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from replayproxy.pytest_plugin.paths import SUFFIX, relative_name


class CollectedTests:
    """The tests of one process. `narrowed` are files of which not all tests run; `*`: files themselves were chosen."""

    def __init__(self, config: pytest.Config) -> None:
        self.root = config.rootpath
        self.narrowed = _chosen(config)
        self._selected: dict[str, list[str]] = {}
        self._users: dict[str, list[str]] = {}
        """The cassettes that each test with a proxy may have."""
        self._ignored = _ignored(config)
        """Cassettes and folders of tests that were not even collected."""

    def deselected(self, items: Sequence[pytest.Item]) -> None:
        """These were collected and will not run."""
        if files := {file_of(item.nodeid) for item in items}:
            self.narrowed = sorted({*self.narrowed, *files, "*"})

    def selected(self, items: Iterable[pytest.Item]) -> None:
        """These will run."""
        for item in items:
            self._selected.setdefault(file_of(item.nodeid), []).append(item.nodeid)
            if "replayproxy" in getattr(item, "fixturenames", ()):
                self._users[item.nodeid] = self._likely_cassettes(item)

    def reported(self, report: pytest.CollectReport) -> None:
        """A module that skips itself (importorskip) or cannot be imported does not say which tests it has."""
        if report.failed:
            self.narrowed = sorted({*self.narrowed, "*"})
        elif report.skipped:
            self._ignored.append(_folder_of(self.root / file_of(report.nodeid), self.root))

    def selected_in(self, files: set[str]) -> dict[str, list[str]]:
        """The selected tests of these files, by file."""
        return {file: tests for file, tests in self._selected.items() if file in files}

    def spared(self, begun: Iterable[str]) -> list[str]:
        """Cassettes and folders that tests may use which did not begin."""
        not_begun = self._users.keys() - set(begun)
        return sorted({name for test in not_begun for name in self._users[test]} | {*self._ignored})

    def _likely_cassettes(self, item: pytest.Item) -> list[str]:
        """The cassettes that a test may have, by its marker and its file. Its fixtures could say more if they ran."""
        folder = item.path.parent / "cassettes"
        names = [str(marker.args[0]) for marker in item.iter_markers("replayproxy") if marker.args]
        named = [name if Path(name).suffix else name + SUFFIX for name in names]
        return [relative_name(folder / name, self.root) for name in (*named, item.path.stem, item.path.stem + SUFFIX)]


def file_of(nodeid: str) -> str:
    """The file of a test, from the root of the run."""
    return nodeid.partition("::")[0]


def _folder_of(path: Path, root: Path) -> str:
    """The folder of the cassettes of the tests in a file or folder."""
    return relative_name(path if path.is_dir() else path.parent / "cassettes", root)


def _ignored(config: pytest.Config) -> list[str]:
    """What `--ignore` leaves out."""
    words = config.getoption("ignore", None) or []
    return [_folder_of((config.invocation_params.dir / word).resolve(), config.rootpath) for word in words]


def _chosen(config: pytest.Config) -> list[str]:
    """Files of which the command line names single tests; `*` if it names files at all."""
    narrowed = {"*"} if config.getoption("ignore_glob", None) else set()
    for word in config.args:
        path, single, _ = word.partition("::")
        place = config.invocation_params.dir / path
        if not place.is_dir():
            narrowed.add("*")
        if single:
            narrowed.add(relative_name(place.resolve(), config.rootpath))
    return sorted(narrowed)
