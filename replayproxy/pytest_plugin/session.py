"""One process of a pytest run: begins and ends each test's playback, fails tests that missed, and tells at the end.

An xdist worker tells its controller; the controller, or the only process, puts everything together, writes it and says
it. Everything heavy is on the `Stage`, which begins with the first test that asks for it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from replayproxy.errors import ReplayProxyError
from replayproxy.pytest_plugin import options, results, summary
from replayproxy.pytest_plugin.network import Guard
from replayproxy.pytest_plugin.options import TestChoice, Unusable
from replayproxy.pytest_plugin.paths import SUFFIX, cassettes_below, relative_name, scope_name, similar_cassettes
from replayproxy.pytest_plugin.results import CassetteUse, ItemResult, ProcessResult, SuiteResult

if TYPE_CHECKING:
    from replayproxy.proxy.result import RunResult
    from replayproxy.pytest_plugin.playback import Playback
    from replayproxy.pytest_plugin.proxies import CassetteProxy, Proxies, ScopeLog
    from replayproxy.settings import Settings
    from replayproxy.views.miss import Miss

SHOWN_MISSES = 10
"""Different misses of one test that its failure spells out."""


@dataclass(slots=True)
class Active:
    """A test that has a playback. `told`: so many of its misses have failed it already."""

    playback: Playback
    proxy: CassetteProxy
    cassette: str
    told: int = 0


ACTIVE = pytest.StashKey[Active]()


@dataclass(slots=True)
class Run:
    """What the controller, or the only process, hears of the whole run."""

    ledgers: list[ProcessResult] = field(default_factory=list)
    workers: int = 0
    crashed: bool = False
    passed: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)


class Session:
    """The plugin while it is enabled."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.root = config.rootpath
        self.guard = Guard()
        self.ledger = ProcessResult(narrowed=_chosen(config))
        self.worker: Mapping[str, Any] | None = getattr(config, "workerinput", None)
        self.run = Run()
        self.account: SuiteResult | None = None
        self.notes: list[str] = []
        self.failed = False
        self._selected: dict[str, list[str]] = {}
        self._users: dict[str, list[str]] = {}
        """What may be the cassettes of each test that asks for a proxy."""
        self._ignored_places = _ignored(config)
        """Cassettes and folders of tests that were not even collected."""
        self._stage: Proxies | None = None
        self._existed: dict[Path, bool] = {}
        self._targets: dict[Settings, Path] = {}
        self._judged: set[str] = set()

    # What is there to run

    @pytest.hookimpl
    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """A test that has only the marker gets the environment."""
        names = getattr(item, "fixturenames", None)
        if names is not None and item.get_closest_marker("replayproxy") and "replayproxy" not in names:
            names.insert(0, "replayproxy_env")

    @pytest.hookimpl
    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Files of which not everything runs."""
        files = {_file(item.nodeid) for item in items}
        self.ledger.narrowed = sorted({*self.ledger.narrowed, *files, "*"} if files else self.ledger.narrowed)

    @pytest.hookimpl
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """What will run."""
        for item in session.items:
            self._selected.setdefault(_file(item.nodeid), []).append(item.nodeid)
            if "replayproxy" in getattr(item, "fixturenames", ()):
                self._users[item.nodeid] = self._likely_cassettes(item)

    @pytest.hookimpl
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Of a module that skips itself (importorskip) or cannot be imported nobody knows which tests it has."""
        if report.failed:
            self.ledger.narrowed = sorted({*self.ledger.narrowed, "*"})
        elif report.skipped:
            self._ignored_places.append(_folder_of(self.root / _file(report.nodeid), self.root))

    def _likely_cassettes(self, item: pytest.Item) -> list[str]:
        """Where the cassette of a test may be that has not run: its fixtures might say otherwise if they were asked."""
        folder = item.path.parent / "cassettes"
        names = [str(marker.args[0]) for marker in item.iter_markers("replayproxy") if marker.args]
        named = [name if Path(name).suffix else name + SUFFIX for name in names]
        return [relative_name(folder / name, self.root) for name in (*named, item.path.stem, item.path.stem + SUFFIX)]

    # One test

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """With the network blocked where that is wished for."""
        marker = item.get_closest_marker("replayproxy_block_network")
        if marker is None and not options.of_run(self.config, "block_network"):
            return (yield)
        allowed = () if marker is None else tuple(marker.kwargs.get("allowed", ()))
        with self.guard.armed((*options.allowed_hosts(self.config), *allowed)):
            return (yield)

    def _refuse_vcr(self, item: pytest.Item) -> None:
        """Fail a test that two recorders have: VCR.py would record our proxy's address, which is new in each run."""
        off = self.config.getoption("--disable-recording", False) or self.config.getoption("--disable-vcr", False)
        if not off and item.get_closest_marker("vcr") is not None:
            pytest.fail(
                "replayproxy: this test is marked with vcr and uses replayproxy too: VCR.py would record the port of"
                " the proxy, which is another one in the next run. Take one of the two away",
                pytrace=False,
            )

    def begin(self, item: pytest.Item, choice: TestChoice, target: Path, *, named: bool) -> Playback:
        """A test's own place on a proxy for its cassette. Raises `Unusable`, or what the house raises."""
        from replayproxy.pytest_plugin.playback import Playback

        self._refuse_vcr(item)
        settings = self._settings(item, choice, target, named=named)
        proxy = self._running_proxies().proxy(settings)
        scope = scope_name(item.nodeid)
        proxy.begin(scope)
        name = relative_name(target, self.root)
        self._targets[settings] = target
        self.ledger.cassettes.setdefault(name, CassetteUse(choice.mode)).named |= named
        playback = Playback(f"{proxy.url}/t/{scope}", scope, target, settings.records, proxy)
        item.stash[ACTIVE] = Active(playback, proxy, name)
        return playback

    def end(self, item: pytest.Item) -> None:
        """Close a test's account. What it missed since its body was over fails it now."""
        active = item.stash[ACTIVE]
        del item.stash[ACTIVE]
        asked = active.proxy.asked(active.playback.scope, forget=True)
        outcomes = Counter(call.outcome for call in asked.calls)
        self.ledger.tests[item.nodeid] = ItemResult(
            item.nodeid, active.cassette, dict(sorted(outcomes.items())), self._documents(asked)
        )
        if missed := asked.misses[active.told :]:
            pytest.fail(self._miss_text(item, active, missed), pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Where another fixture fails for a miss, the miss is told beside it."""
        __tracebackhide__ = True
        if "replayproxy" in getattr(item, "fixturenames", ()):
            self._refuse_vcr(item)
        return (yield from self._with_misses(item, "setup", judged=False))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """A miss fails the test, also one that the code under test has swallowed."""
        __tracebackhide__ = True
        return (yield from self._with_misses(item, "call", judged=True))

    def _with_misses(self, item: pytest.Item, phase: str, *, judged: bool) -> Generator[None, object, object]:
        __tracebackhide__ = True  # in the way of whoever reads another plugin's failure
        try:
            result = yield
        except BaseException:
            # The test's own failure comes first; ours stands below it.
            if (words := self._new_misses(item)) is not None:
                item.add_report_section(phase, "replayproxy", words)
            raise
        if judged and (words := self._new_misses(item)) is not None:
            pytest.fail(words, pytrace=False)
        return result

    def _new_misses(self, item: pytest.Item) -> str | None:
        active = item.stash.get(ACTIVE, None)
        if active is None:
            return None
        misses = active.proxy.asked(active.playback.scope).misses
        missed, active.told = misses[active.told :], len(misses)
        return self._miss_text(item, active, missed) if missed else None

    def _miss_text(self, item: pytest.Item, active: Active, missed: Sequence[Miss]) -> str:
        from replayproxy.pytest_plugin.proxies import explanation_of

        different = list(dict.fromkeys(self._from_root(explanation_of(miss)) for miss in missed))
        number = "a request" if len(missed) == 1 else f"{len(missed)} requests"
        lines = [f"replayproxy: {number} of this test found no answer on {active.cassette}"]
        lines += different[:SHOWN_MISSES]
        if len(different) > SHOWN_MISSES:
            lines.append(f"and {len(different) - SHOWN_MISSES} more")
        if any(miss.nearest is not None for miss in missed):
            lines.append(
                "In a test these flags are words of its marker: @pytest.mark.replayproxy(match_ignore=[…],"
                " match_normalise=[…])"
            )
        allowed = "" if options.may_record(self.config) else " --replayproxy-allow-record"
        lines.append(f"Record what is missing: {_command(item, 'new_episodes')}{allowed}")
        return "\n".join(lines)

    def _documents(self, asked: ScopeLog) -> list[dict[str, Any]]:
        """Misses as a report has them, equal ones counted."""
        documents: dict[tuple[str, str], dict[str, Any]] = {}
        for miss in asked.misses:
            said = documents.setdefault((miss.code, miss.key), {"times": 0, **miss.document()})
            said["times"] += 1
        # Paths as they are in the repository, wherever that lies.
        told: list[dict[str, Any]] = json.loads(self._from_root(json.dumps(list(documents.values()))))
        return told

    def _from_root(self, words: str) -> str:
        return words.replace(f"{self.root}/", "")

    # Its cassette

    def _running_proxies(self) -> Proxies:
        if self._stage is None:
            from replayproxy.pytest_plugin.proxies import Proxies

            self._stage = Proxies(self._closed)
            self.guard.exempt = self._stage.thread
        return self._stage

    def _settings(self, item: pytest.Item, choice: TestChoice, target: Path, *, named: bool) -> Settings:
        from replayproxy.pytest_plugin import proxies

        first = target not in self._existed
        existed = self._existed.setdefault(target, target.exists())
        if not self._records(choice, existed=existed):
            if not target.exists():
                raise Unusable(self._missing(item, target, choice.mode))
            return proxies.replaying(target, choice)
        if choice.upstream is None:
            raise Unusable(f"mode {choice.mode} records, and has no server to ask: give --replayproxy-upstream URL")
        anew = choice.mode in ("all", "rewrite")
        if anew and _file(item.nodeid) in self.ledger.narrowed and (named or self.layout == "module"):
            raise Unusable(
                f"mode {choice.mode} records all of {relative_name(target, self.root)} anew, but not all tests of"
                f" {_file(item.nodeid)} were selected: run the whole file, or use --replayproxy-mode new_episodes"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        if first and choice.mode == "rewrite":
            target.unlink(missing_ok=True)
        # Workers do not share a file; and what may yet fail must not spoil the one that is there.
        if self.worker is None and choice.mode != "all":
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
        near = similar_cassettes(target, self.root)
        there = f" (there is {', '.join(near)})" if near else ""
        said = f"there is no cassette {relative_name(target, self.root)}{there}. "
        if mode != "none":  # it was asked for what the error would say
            return (
                f"{said}Mode {mode} would record it, but the variable CI is set: record it on your machine and commit"
                " it, or add --replayproxy-allow-record"
            )
        return f"{said}Record it: {_command(item, 'once')}"

    @property
    def layout(self) -> str:
        """`test` or `module`."""
        return str(options.of_run(self.config, "layout"))

    def _part(self, target: Path) -> Path:
        worker = self.worker or {"workerid": "main", "testrunuid": "run"}
        return target.with_name(f".{target.name}.{worker['workerid']}-{worker['testrunuid'][:8]}.part")

    def _salt(self, target: Path) -> bytes | None:
        """The same in all workers: their parts become one cassette, and a cassette has one salt."""
        if self.worker is None:
            return None
        run = f"{self.worker['testrunuid']} {relative_name(target, self.root)}"
        return hashlib.blake2b(run.encode(), digest_size=16).digest()

    def _closed(self, settings: Settings, report: RunResult, late: ScopeLog) -> None:
        """A proxy was stopped: what it has to tell."""
        target = self._targets[settings]
        name = relative_name(target, self.root)
        kept = self.ledger.cassettes[name]
        kept.recordings = report.recordings
        kept.recorded += report.recorded
        unused = [recording.document() | {"cassette": name} for recording in report.unused]
        if settings.recording.onto is not None:
            kept.unused = None
            kept.part = str(settings.recording.onto) if settings.recording.onto != target else None
        elif name not in self._judged:
            kept.unused = unused
        elif kept.unused is not None:
            left = {results.identity(one) for one in unused}
            kept.unused = [one for one in kept.unused if results.identity(one) in left]
        self._judged.add(name)
        self.ledger.late += [{"cassette": name, **miss} for miss in self._documents(late)]
        self.ledger.lateness_max = max(self.ledger.lateness_max, report.lateness_max)

    # The end

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Which tests passed, wherever they ran."""
        if report.failed:
            self.run.failed.add(report.nodeid)
        elif report.when == "call" and report.passed:
            self.run.passed.add(report.nodeid)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self) -> None:
        """A worker begins."""
        self.run.workers += 1

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker is over; one that crashed has nothing to tell."""
        told = getattr(node, "workeroutput", {}).get("replayproxy")
        if told is not None:
            self.run.ledgers.append(ProcessResult.of(json.loads(told)))

    @pytest.hookimpl
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Stop the proxies; tell the controller, or put everything together."""
        self.close()
        files = {_file(test) for test in self.ledger.tests}
        self.ledger.selected = {file: tests for file, tests in self._selected.items() if file in files}
        self.ledger.folders = sorted({relative_name(_cassette_folder(target), self.root) for target in self._existed})
        not_begun = {test: likely for test, likely in self._users.items() if test not in self.ledger.tests}
        self.ledger.spared = sorted(
            {name for likely in not_begun.values() for name in likely} | {*self._ignored_places}
        )
        if self.worker is not None:
            self.config.workeroutput["replayproxy"] = json.dumps(self.ledger.document())  # type: ignore[attr-defined]  # xdist's
            return
        run = self.run
        if not run.workers:
            run.ledgers = [self.ledger]
        crashed = len(run.ledgers) < run.workers
        # Else it was interrupted, or refused before all tests were chosen.
        to_its_end = session.exitstatus in (
            pytest.ExitCode.OK,
            pytest.ExitCode.TESTS_FAILED,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        )
        passed = run.passed - run.failed
        run.ledgers.sort(key=lambda told: sorted(told.tests))
        used = any(told.cassettes for told in run.ledgers)
        if not used and not self._looks_for_orphans:
            return
        self._keep_parts(run.ledgers, passed)
        orphans = results.orphans(run.ledgers, self._cassettes_there(run.ledgers), crashed=crashed or not to_its_end)
        if not used and not orphans:
            return
        self.account = results.suite_result(run.ledgers, passed, crashed=crashed, orphans=orphans)
        if file := options.of_run(self.config, "report"):
            self._write_report(file, self.account)
        if session.exitstatus == pytest.ExitCode.OK and self._reasons_to_fail(self.account):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _reasons_to_fail(self, account: SuiteResult) -> list[str]:
        return summary.reasons_to_fail(account, options.of_run(self.config, "unused"), failed=self.failed)

    @property
    def _looks_for_orphans(self) -> bool:
        """Whether a run whose tests use no recordings is to look for cassettes all the same."""
        typed = self.config.getoption("replayproxy_unused")
        return bool(typed == "warn" or options.of_run(self.config, "unused") == "fail")

    def _cassettes_there(self, ledgers: Sequence[ProcessResult]) -> list[str]:
        """Every cassette in the folders that this run has used, or has looked for tests."""
        folders = {self.root / folder for ledger in ledgers for folder in ledger.folders}
        found = {path for folder in folders for path in folder.rglob(f"*{SUFFIX}")}
        if options.of_run(self.config, "unused") != "ignore" and not any(ledger.narrowed for ledger in ledgers):
            places = (self.config.invocation_params.dir / word for word in self.config.args)
            looked = [place.resolve() for place in places if place.is_dir()]
            found.update(cassettes_below(looked, self.config.getini("norecursedirs")))
        return sorted({relative_name(path, self.root) for path in found})

    def _write_report(self, file: str, account: SuiteResult) -> None:
        from replayproxy import output_files

        path = options.report_path(self.config, file)
        document = json.dumps(account.document(), indent=2) + "\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            output_files.write(path, document.encode(), "--replayproxy-report")
        except (OSError, ReplayProxyError) as error:
            self.notes.append(f"there is no report: {error}")
            self.failed = True

    @pytest.hookimpl
    def pytest_unconfigure(self) -> None:
        """Whatever happened, no thread stays behind."""
        self.close()

    def close(self) -> None:
        """Stop the proxies."""
        if self._stage is not None:
            self._stage.close()
            self._stage = None

    def _keep_parts(self, ledgers: Sequence[ProcessResult], passed: set[str]) -> None:
        """Make one cassette of what several have recorded; or leave the old one as it was."""
        for name in sorted({name for told in ledgers for name in told.cassettes}):
            kept = [told.cassettes[name] for told in ledgers if name in told.cassettes]
            parts = [Path(one.part) for one in kept if one.part]
            if not parts:
                continue
            mode = kept[0].mode
            failed = results.first_not_passed(ledgers, name, passed) if mode == "all" else None
            if failed is not None:
                self.notes.append(f"{name} is as it was: {failed} did not pass")
            else:
                full = [Path(one.part) for one in kept if one.part and one.recorded]
                try:
                    self._merge_parts(self.root / name, full or parts[:1], more=mode == "new_episodes")
                except ReplayProxyError as error:
                    there = " ".join(relative_name(part, self.root) for part in parts)
                    self.notes.append(f"{name} is as it was: {error}. What was recorded is in {there}")
                    self.failed = True
                    continue
            for part in parts:
                part.unlink(missing_ok=True)

    def _merge_parts(self, target: Path, parts: Sequence[Path], *, more: bool) -> None:
        """One cassette at `target`, in one step: whoever looks sees the old one or the new one."""
        from replayproxy.pytest_plugin.parts import merge_parts

        again = merge_parts(target, parts, more=more)
        if again:
            self.notes.append(
                f"{relative_name(target, self.root)}: {again} requests were recorded by several workers, and the first"
                " one's answer was kept; where later requests depend on it, record with --dist loadfile, or without"
                " xdist"
            )

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """One line; the names with -v; in red why the run failed though its tests have passed."""
        if self.account is None:
            return
        from replayproxy.core.visible import visible

        terminalreporter.section("replayproxy")
        loud = options.of_run(self.config, "unused") != "ignore"
        for line in summary.lines(self.account, self.notes, loud=loud, verbose=self.config.get_verbosity() > 0):
            terminalreporter.line(visible(line))
        for reason in self._reasons_to_fail(self.account):
            terminalreporter.line(visible(f"replayproxy FAILED the run: {reason}"), red=True, bold=True)


def _command(item: pytest.Item, mode: str) -> str:
    return f"pytest '{item.nodeid}' --replayproxy-mode {mode} --replayproxy-upstream URL"


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _cassette_folder(target: Path) -> Path:
    """The folder of a test's cassettes, above the one of its module where each module has one."""
    return next((folder for folder in target.parents if folder.name == "cassettes"), target.parent)


def _folder_of(path: Path, root: Path) -> str:
    """Where the cassettes of the tests in a file or folder lie."""
    return relative_name(path if path.is_dir() else path.parent / "cassettes", root)


def _ignored(config: pytest.Config) -> list[str]:
    """What `--ignore` leaves away."""
    words = config.getoption("ignore", None) or []
    return [_folder_of((config.invocation_params.dir / word).resolve(), config.rootpath) for word in words]


def _chosen(config: pytest.Config) -> list[str]:
    """Files of which the command line names single tests; `*` where it names files at all."""
    narrowed = {"*"} if config.getoption("ignore_glob", None) else set()
    for word in config.args:
        path, single, _ = word.partition("::")
        place = config.invocation_params.dir / path
        if not place.is_dir():
            narrowed.add("*")
        if single:
            narrowed.add(relative_name(place.resolve(), config.rootpath))
    return sorted(narrowed)
