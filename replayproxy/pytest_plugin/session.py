"""The plugin while it is enabled, in one process of a pytest run: its hooks, in the order in which pytest calls them.

It begins and ends each test's playback, fails tests whose requests had no recording, and reports at the end. An xdist
worker reports to its controller; the controller, or the only process, puts everything together, writes and prints it.

    CollectedTests   which tests there are         SuiteCassettes   which settings a test's proxy has
    Proxies          the proxies that run          ProcessResult ─▶ SuiteResult   what is reported

Whatever imports more than pytest is imported with the first test that uses a proxy.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from replayproxy.errors import ReplayProxyError
from replayproxy.pytest_plugin import options, summary
from replayproxy.pytest_plugin.collection import CollectedTests, file_of
from replayproxy.pytest_plugin.network import Guard
from replayproxy.pytest_plugin.paths import SUFFIX, cassettes_below, relative_name, scope_name
from replayproxy.pytest_plugin.process_result import CassetteUse, ItemResult, ProcessResult

if TYPE_CHECKING:
    from replayproxy.api.server import ProxyServer
    from replayproxy.proxy.result import RunResult
    from replayproxy.pytest_plugin.cassettes import SuiteCassettes
    from replayproxy.pytest_plugin.options import TestChoice
    from replayproxy.pytest_plugin.playback import Playback
    from replayproxy.pytest_plugin.proxies import Proxies
    from replayproxy.pytest_plugin.suite_result import SuiteResult
    from replayproxy.settings import Settings


@dataclass(slots=True)
class ActiveTest:
    """A test that has a playback. `reported`: so many of its misses have failed it already."""

    playback: Playback
    server: ProxyServer
    cassette: str
    reported: int = 0


ACTIVE = pytest.StashKey[ActiveTest]()


@dataclass(slots=True)
class WholeRun:
    """What the controller, or the only process, learns of the whole run."""

    processes: list[ProcessResult] = field(default_factory=list)
    workers: int = 0
    passed: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)


class Session:
    """The plugin while it is enabled."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.root = config.rootpath
        self.guard = Guard()
        self.tests = CollectedTests(config)
        self.process = ProcessResult()
        self.worker: Mapping[str, Any] | None = getattr(config, "workerinput", None)
        self.run = WholeRun()
        self.suite: SuiteResult | None = None
        self.notes: list[str] = []
        self.could_not_write = False
        self._proxies: Proxies | None = None
        self._cassettes: SuiteCassettes | None = None
        self._targets: dict[Settings, Path] = {}
        self._digests: dict[str, str] = {}
        """SHA-256 of the cassettes before they were played, by name; where a report is written."""

    # The tests of the run

    @pytest.hookimpl
    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """A test that has only the marker gets the environment."""
        names = getattr(item, "fixturenames", None)
        if names is not None and item.get_closest_marker("replayproxy") and "replayproxy" not in names:
            names.insert(0, "replayproxy_env")

    @pytest.hookimpl
    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Files of which not everything runs."""
        self.tests.deselected(items)

    @pytest.hookimpl
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """What will run."""
        self.tests.selected(session.items)

    @pytest.hookimpl
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that was not collected."""
        self.tests.reported(report)

    # One test

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """With the network blocked, if the run or the test says so."""
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
        """Give a test its own scope on a proxy for its cassette. Raises `Unusable` or `ReplayProxyError`."""
        from replayproxy.pytest_plugin.cassettes import SuiteCassettes
        from replayproxy.pytest_plugin.playback import Playback

        self._refuse_vcr(item)
        if self._cassettes is None:
            self._cassettes = SuiteCassettes(self.config, self.worker)
        narrowed = self.tests.narrowed
        settings = self._cassettes.settings(item, choice, target, named=named, narrowed=narrowed)
        name = relative_name(target, self.root)
        self._note_digest(name, target, settings)
        server = self._running_proxies().server(settings)
        scope = scope_name(item.nodeid)
        server.end_scopes(scope, "")  # also a test that is run again begins at the first recordings
        self._targets[settings] = target
        self.process.cassettes.setdefault(name, CassetteUse(choice.mode)).named |= named
        playback = Playback(f"{server.url}/t/{scope}", scope, target, settings.records, server)
        item.stash[ACTIVE] = ActiveTest(playback, server, name)
        return playback

    def end(self, item: pytest.Item) -> None:
        """End a test. Its misses since the end of its body fail it now."""
        from replayproxy.pytest_plugin.miss_text import miss_documents, miss_text

        active = item.stash[ACTIVE]
        del item.stash[ACTIVE]
        calls = active.server.end_scopes(active.playback.scope, "")
        misses = [call.miss for call in calls if call.miss is not None]
        outcomes = Counter(call.outcome for call in calls)
        self.process.tests[item.nodeid] = ItemResult(
            item.nodeid, active.cassette, dict(sorted(outcomes.items())), miss_documents(misses, self.root)
        )
        if new := misses[active.reported :]:
            pytest.fail(miss_text(item, active.cassette, new), pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Where another fixture fails because of a miss, the miss is reported beside it."""
        __tracebackhide__ = True
        if "replayproxy" in getattr(item, "fixturenames", ()):
            self._refuse_vcr(item)
        return (yield from self._with_misses(item, "setup", judged=False))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """A miss fails the test, also one that the code under test ignored."""
        __tracebackhide__ = True
        return (yield from self._with_misses(item, "call", judged=True))

    def _with_misses(self, item: pytest.Item, phase: str, *, judged: bool) -> Generator[None, object, object]:
        __tracebackhide__ = True  # else these lines stand in the traceback of every other failure
        try:
            result = yield
        except BaseException:
            # The test's own failure comes first; ours is a section below it.
            if (text := self._new_misses(item)) is not None:
                item.add_report_section(phase, "replayproxy", text)
            raise
        if judged and (text := self._new_misses(item)) is not None:
            pytest.fail(text, pytrace=False)
        return result

    def _new_misses(self, item: pytest.Item) -> str | None:
        from replayproxy.pytest_plugin.miss_text import miss_text

        active = item.stash.get(ACTIVE, None)
        if active is None:
            return None
        misses = active.playback.misses
        new, active.reported = misses[active.reported :], len(misses)
        return miss_text(item, active.cassette, new) if new else None

    # Its proxy

    def _running_proxies(self) -> Proxies:
        if self._proxies is None:
            from replayproxy.pytest_plugin.proxies import Proxies

            self._proxies = Proxies(self._stopped)
            self.guard.exempt_threads = self._proxies.thread_ids
        return self._proxies

    def _note_digest(self, name: str, target: Path, settings: Settings) -> None:
        """Note what the cassette is before it is played: `prune` applies a report to that file only."""
        if settings.records or name in self._digests or not options.of_run(self.config, "report"):
            return
        from replayproxy.cassette.file_digest import file_digest

        self._digests[name] = file_digest(target)

    def _stopped(self, server: ProxyServer) -> None:
        """A proxy was stopped: note its result."""
        from replayproxy.proxy.result import RunResult
        from replayproxy.pytest_plugin.miss_text import miss_documents

        name = relative_name(self._targets[server.settings], self.root)
        use = self.process.cassettes[name]
        result = self._relative(server.report(), name)
        before = [] if use.result is None else [RunResult.from_document(use.result)]
        use.result = RunResult.merged([*before, result]).document()
        onto = server.settings.recording.onto
        if onto is not None:
            use.is_recorded = True
            use.part = str(onto) if onto != self._targets[server.settings] else None
        late = [call.miss for call in server.calls if call.miss is not None]
        self.process.late += [{"cassette": name, **miss} for miss in miss_documents(late, self.root)]

    def _relative(self, result: RunResult, name: str) -> RunResult:
        """The same result, with the name of its cassette in the repository. Its misses are those of the tests."""
        return replace(
            result,
            cassettes=(name,),
            causes=(),
            forgotten={},
            unused=tuple(replace(recording, cassette=name) for recording in result.unused),
            damage=result.damage.replace(f"{self.root}/", ""),
            digests={name: self._digests[name]} if name in self._digests else {},
        )

    # The end

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Which tests passed, in any process."""
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
        """A worker has ended; one that crashed has no output."""
        output = getattr(node, "workeroutput", {}).get("replayproxy")
        if output is not None:
            self.run.processes.append(ProcessResult.from_document(json.loads(output)))

    @pytest.hookimpl
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Stop the proxies; report to the controller, or put everything together."""
        self.close()
        process = self.process
        process.narrowed = self.tests.narrowed
        process.selected = self.tests.selected_in({file_of(test) for test in process.tests})
        used = [] if self._cassettes is None else self._cassettes.used
        process.folders = sorted({relative_name(_cassette_folder(target), self.root) for target in used})
        process.spared = self.tests.spared(process.tests)
        if self.worker is not None:
            self.config.workeroutput["replayproxy"] = json.dumps(process.document())  # type: ignore[attr-defined]  # xdist's
        else:
            self._conclude(session, exitstatus)

    def _conclude(self, session: pytest.Session, exitstatus: int) -> None:
        """Put the results of all processes together, write the report, fail a run whose tests have all passed."""
        run = self.run
        if not run.workers:
            run.processes = [self.process]
        crashed = len(run.processes) < run.workers
        # Else it was interrupted, or refused before all tests were selected.
        to_its_end = exitstatus in (
            pytest.ExitCode.OK,
            pytest.ExitCode.TESTS_FAILED,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        )
        passed = run.passed - run.failed
        run.processes.sort(key=lambda process: sorted(process.tests))
        used = any(process.cassettes for process in run.processes)
        if not used and not self._looks_for_orphans:
            return
        from replayproxy.pytest_plugin.cassettes import keep_parts
        from replayproxy.pytest_plugin.suite_result import orphans, suite_result

        notes, is_written = keep_parts(self.root, run.processes, passed)
        self.notes += notes
        self.could_not_write |= not is_written
        unowned = orphans(run.processes, self._found_cassettes(run.processes), crashed=crashed or not to_its_end)
        if not used and not unowned:
            return
        self.suite = suite_result(run.processes, passed, crashed=crashed, orphans=unowned)
        if file := options.of_run(self.config, "report"):
            self._write_report(file, self.suite, int(exitstatus))
        if exitstatus == pytest.ExitCode.OK and self._reasons_to_fail(self.suite):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _reasons_to_fail(self, suite: SuiteResult) -> list[str]:
        return summary.reasons_to_fail(suite, options.of_run(self.config, "unused"), failed=self.could_not_write)

    @property
    def _looks_for_orphans(self) -> bool:
        """Whether a run whose tests use no recordings looks for cassettes nevertheless."""
        typed = self.config.getoption("replayproxy_unused")
        return bool(typed == "warn" or options.of_run(self.config, "unused") == "fail")

    def _found_cassettes(self, processes: Sequence[ProcessResult]) -> list[str]:
        """Every cassette in the folders that this run used, or in which pytest looked for tests."""
        folders = {self.root / folder for process in processes for folder in process.folders}
        found = {path for folder in folders for path in folder.rglob(f"*{SUFFIX}")}
        if options.of_run(self.config, "unused") != "ignore" and not any(process.narrowed for process in processes):
            places = (self.config.invocation_params.dir / word for word in self.config.args)
            searched = [place.resolve() for place in places if place.is_dir()]
            found.update(cassettes_below(searched, self.config.getini("norecursedirs")))
        return sorted({relative_name(path, self.root) for path in found})

    def _write_report(self, file: str, suite: SuiteResult, exit_code: int) -> None:
        from replayproxy import output_files

        path = options.report_path(self.config, file)
        fail_unused = options.of_run(self.config, "unused") == "fail"
        document = json.dumps(suite.document(exit_code=exit_code, fail_unused=fail_unused), indent=2) + "\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            output_files.write(path, document.encode(), "--replayproxy-report")
        except (OSError, ReplayProxyError) as error:
            self.notes.append(f"there is no report: {error}")
            self.could_not_write = True

    @pytest.hookimpl
    def pytest_unconfigure(self) -> None:
        """No thread stays, however the run ended."""
        self.close()

    def close(self) -> None:
        """Stop the proxies."""
        if self._proxies is not None:
            self._proxies.close()
            self._proxies = None

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """One line; the names with -v; in red why the run failed though its tests passed."""
        if self.suite is None:
            return
        from replayproxy.core.visible import visible

        terminalreporter.section("replayproxy")
        loud = options.of_run(self.config, "unused") != "ignore"
        for line in summary.lines(self.suite, self.notes, loud=loud, verbose=self.config.get_verbosity() > 0):
            terminalreporter.line(visible(line))
        for reason in self._reasons_to_fail(self.suite):
            terminalreporter.line(visible(f"replayproxy FAILED the run: {reason}"), red=True, bold=True)


def _cassette_folder(target: Path) -> Path:
    """The folder of a test's cassettes, above the one of its module where each module has one."""
    return next((folder for folder in target.parents if folder.name == "cassettes"), target.parent)
