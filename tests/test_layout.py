"""Where tests are: each file of the package has a test file by its name, and no test file is too long to be read."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "replayproxy"

WITHOUT_TEST_FILE = {
    "": {"ports"},
    "cassette/": {
        "columns",
        "exchange_rows",
        "format_1",
        "format_2",
        "format_3",
        "naming",
        "numbering",
        "packing",
        "recorded_rules",
        "recovering",
        "schema",
    },
    "cassette/checking/": {"secrets"},
    "cassette/editing/": {"join", "to_format_2", "to_format_3"},
    "cli/": {"main"},
    "cli/judging/": {"account", "actions", "ending", "junit", "receipt"},
    "cli/terminal/": {"statistics_table"},
    "cli/verbs/": {"demonstrating", "executing", "measuring", "serving"},
    "core/": {"preparing", "selection"},
    "net/": {
        "answer_rules",
        "clock",
        "http_connection",
        "incoming",
        "lingering",
        "response_collector",
        "sending",
        "server_probe",
        "switching",
        "tunnel",
        "upstream",
        "waiting",
    },
    "proxy/": {"aside", "client_origin", "exchange_recorder", "stand_in"},
    "setting_table/": {"listening", "playing", "recording", "runs", "servers", "simulating"},
    "views/": {"port"},
}
"""By folder: files whose tests are in files with other names. This list may only become shorter."""

LONGEST = 400
"""Lines."""

LONGER = {
    "cassette/coding/test_codec.py": 650,
    "cassette/test_writer.py": 800,
    "cassette/test_writer_thread.py": 850,
    "cli/test_exec.py": 500,
    "core/identity/test_rules.py": 450,
    "core/redaction/test_stream_redactor.py": 450,
    "live/test_other_proxies.py": 450,
    "net/test_framing.py": 450,
    "net/test_pair.py": 450,
    "net/test_pair_faults.py": 500,
    "net/test_upstream_connection.py": 450,
    "plugin/test_unused.py": 450,
    "proxy/test_handler.py": 600,
    "proxy/test_recorder.py": 850,
    "test_canaries.py": 450,
}
"""Test files that may have so many lines until they are split. These numbers may only become smaller."""


def named_after(source: str) -> str:
    """The name of the test file of a source file: both are paths within their folders."""
    path = Path(source.replace("pytest_plugin/", "plugin/"))
    return str(path.with_name(f"test_{path.name}"))


def without_test_file(sources: set[str], tests: set[str]) -> set[str]:
    """The source files that have no test file by their name."""
    return {source for source in sources if named_after(source) not in tests}


def files_in(folder: Path) -> set[str]:
    """Paths of the Python files in it."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}


def test_each_source_file_has_a_test_file_by_its_name() -> None:
    """Who changes a file finds its tests without searching."""
    sources = {source for source in files_in(PACKAGE) if not Path(source).stem.startswith("__")}
    excepted = {f"{folder}{stem}.py" for folder, stems in WITHOUT_TEST_FILE.items() for stem in stems}
    assert len(sources) > 200
    assert without_test_file(sources, files_in(TESTS)) - excepted == set()
    assert len(excepted) <= 62


def test_no_test_file_is_longer_than_a_reader_is_patient() -> None:
    """400 lines; those that were longer when this was written do not grow."""
    lines = {name: len((TESTS / name).read_text("utf-8").splitlines()) for name in files_in(TESTS)}
    assert {name: count for name, count in lines.items() if count > LONGER.get(name, LONGEST)} == {}


def test_what_has_no_test_file_is_found() -> None:
    """In the folder of that name, and in no other."""
    sources, tests = {"net/pool.py", "pytest_plugin/options.py", "model.py"}, {"net/test_pool.py", "core/test_model.py"}
    assert without_test_file(sources, tests) == {"pytest_plugin/options.py", "model.py"}
    assert without_test_file(sources, tests | {"plugin/test_options.py", "test_model.py"}) == set()
