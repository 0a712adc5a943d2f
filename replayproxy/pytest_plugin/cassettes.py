"""The cassettes of a run: from the mode of a test to the settings of its proxy, and from new files to cassettes.

    none, once (exists)      play the cassette
    once, new_episodes       play what is there, and record to the cassette
    rewrite                  delete the cassette, then record to it
    all                      record to a new file; it replaces the cassette when its tests have passed

Workers of xdist record to a file each, a part, and the controller makes one cassette of them: a recorder locks its
cassette.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from replayproxy.errors import ReplayProxyError
from replayproxy.pytest_plugin import options, proxies
from replayproxy.pytest_plugin.collection import file_of
from replayproxy.pytest_plugin.miss_text import command
from replayproxy.pytest_plugin.options import TestChoice, Unusable
from replayproxy.pytest_plugin.paths import relative_name, similar_cassettes
from replayproxy.pytest_plugin.process_result import ProcessResult
from replayproxy.pytest_plugin.suite_result import first_not_passed
from replayproxy.settings import Settings


class SuiteCassettes:
    """The cassettes of one process. `worker` is what xdist gives to a worker; None in the only process."""

    def __init__(self, config: pytest.Config, worker: Mapping[str, Any] | None) -> None:
        self.config = config
        self.root = config.rootpath
        self._worker = worker
        self._existed: dict[Path, bool] = {}
        """Whether a cassette existed before its first test began."""

    @property
    def used(self) -> list[Path]:
        """The cassettes of the tests that began."""
        return list(self._existed)

    # Before a test

    def settings(
        self, item: pytest.Item, choice: TestChoice, target: Path, *, named: bool, narrowed: Sequence[str]
    ) -> Settings:
        """Settings of the proxy for a test whose cassette is `target`. Raises `Unusable`."""
        first = target not in self._existed
        existed = self._existed.setdefault(target, target.exists())
        if not self._records(choice, existed=existed):
            if not target.exists():
                raise Unusable(self._missing(item, target, choice.mode))
            return proxies.replaying(target, choice)
        if choice.upstream is None:
            raise Unusable(f"mode {choice.mode} records, and has no server to ask: give --replayproxy-upstream URL")
        anew = choice.mode in ("all", "rewrite")
        shared = named or options.of_run(self.config, "layout") == "module"
        if anew and shared and file_of(item.nodeid) in narrowed:
            raise Unusable(
                f"mode {choice.mode} records all of {relative_name(target, self.root)} anew, but not all tests of"
                f" {file_of(item.nodeid)} were selected: run the whole file, or use --replayproxy-mode new_episodes"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        if first and choice.mode == "rewrite":
            target.unlink(missing_ok=True)
        # Two workers cannot record to one file; and a run in mode all that fails must not change the cassette.
        if self._worker is None and choice.mode != "all":
            return proxies.recording(target, (), choice)
        part = self._part(target)
        if first:
            part.unlink(missing_ok=True)  # of a run that was killed
        return proxies.recording(part, (target,) if existed and not anew else (), choice, self._salt(target))

    def _records(self, choice: TestChoice, *, existed: bool) -> bool:
        if choice.mode == "none" or (choice.mode == "once" and existed):
            return False
        if options.may_record(self.config):
            return True
        if choice.mode in ("all", "rewrite"):
            raise Unusable(
                f"CI is set, and mode {choice.mode} would record: leave it away there, or add"
                " --replayproxy-allow-record"
            )
        return False

    def _missing(self, item: pytest.Item, target: Path, mode: str) -> str:
        similar = similar_cassettes(target, self.root)
        hint = f" (there is {', '.join(similar)})" if similar else ""
        sentence = f"there is no cassette {relative_name(target, self.root)}{hint}. "
        if mode != "none":  # the command that would record it is the one that was typed
            return (
                f"{sentence}Mode {mode} would record it, but the variable CI is set: record it on your machine and"
                " commit it, or add --replayproxy-allow-record"
            )
        return f"{sentence}Record it: {command(item, 'once')}"

    def _part(self, target: Path) -> Path:
        worker = self._worker or {"workerid": "main", "testrunuid": "run"}
        return target.with_name(f".{target.name}.{worker['workerid']}-{worker['testrunuid'][:8]}.part")

    def _salt(self, target: Path) -> bytes | None:
        """The same salt in all workers: a cassette has one, and it is made of the parts of several."""
        if self._worker is None:
            return None
        run = f"{self._worker['testrunuid']} {relative_name(target, self.root)}"
        return hashlib.blake2b(run.encode(), digest_size=16).digest()


# After the run


def keep_parts(root: Path, processes: Sequence[ProcessResult], passed: set[str]) -> tuple[list[str], bool]:
    """Make one cassette of the files that were recorded for it; leave a cassette in mode all whose tests failed.

    Returns notes for the terminal, and whether all cassettes could be written.
    """
    notes, is_written = [], True
    for name in sorted({name for process in processes for name in process.cassettes}):
        uses = [process.cassettes[name] for process in processes if name in process.cassettes]
        parts = [Path(use.part) for use in uses if use.part]
        if not parts:
            continue
        mode = uses[0].mode
        failed = first_not_passed(processes, name, passed) if mode == "all" else None
        if failed is not None:
            notes.append(f"{name} is as it was: {failed} did not pass")
        else:
            full = [Path(use.part) for use in uses if use.part and use.recorded]
            try:
                notes += _merge(root / name, full or parts[:1], root, more=mode == "new_episodes")
            except ReplayProxyError as error:
                there = " ".join(relative_name(part, root) for part in parts)
                notes.append(f"{name} is as it was: {error}. What was recorded is in {there}")
                is_written = False
                continue
        for part in parts:
            part.unlink(missing_ok=True)
    return notes, is_written


def _merge(target: Path, parts: Sequence[Path], root: Path, *, more: bool) -> list[str]:
    from replayproxy.pytest_plugin.parts import merge_parts

    repeated = merge_parts(target, parts, more=more)
    if not repeated:
        return []
    return [
        f"{relative_name(target, root)}: {repeated} requests were recorded by several workers, and the first one's"
        " answer was kept; where later requests depend on it, record with --dist loadfile, or without xdist"
    ]
