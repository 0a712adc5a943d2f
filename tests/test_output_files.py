"""Tests of `output_files`: no output ever replaces a cassette; everything else is replaced in one step."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from replayproxy import output_files
from replayproxy.cassette import schema
from replayproxy.errors import ReplayProxyError, SettingsError
from tests.cli.commands import asking, execute, tape
from tests.cli.tapes import Read, reader
from tests.processes import environment


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    """A sealed cassette with one chat."""
    return tape(tmp_path / "chat.cassette", "hello")


def test_a_cassette_is_known_by_the_id_that_is_written() -> None:
    """The constant is the schema's."""
    assert schema.APPLICATION_ID.to_bytes(4) == output_files.CASSETTE_ID


@pytest.fixture
def read(capsys: pytest.CaptureFixture[str]) -> Read:
    """Runs a verb in this process."""
    return reader(capsys)


# What is a cassette, under whatever name


def itself(cassette: Path) -> Path:
    """Its own name."""
    return cassette


def other(cassette: Path) -> Path:
    """A cassette that this command was not given."""
    return Path(shutil.copy(cassette, cassette.with_name("other.data")))


def symlink(cassette: Path) -> Path:
    """A link to it."""
    link = cassette.with_name("report.json")
    link.symlink_to(cassette)
    return link


def two_symlinks(cassette: Path) -> Path:
    """A link to a link to it, by relative names."""
    first, second = cassette.with_name("first"), cassette.with_name("second")
    first.symlink_to(cassette.name)
    second.symlink_to("first")
    return second


def folder_symlink(cassette: Path) -> Path:
    """Its name in a folder that is a link."""
    folder = cassette.parent.parent / f"{cassette.parent.name}-link"
    folder.symlink_to(cassette.parent)
    return folder / cassette.name


def hard_link(cassette: Path) -> Path:
    """The same file under another name."""
    link = cassette.with_name("run.json")
    link.hardlink_to(cassette)
    return link


def by_a_detour(cassette: Path) -> Path:
    """A path with `..` in it."""
    (cassette.parent / "sub").mkdir()
    return cassette.parent / "sub" / ".." / cassette.name


def newer(cassette: Path) -> Path:
    """One of a format that is not known yet."""
    path = other(cassette)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    return path


def damaged(cassette: Path) -> Path:
    """One whose first bytes are lost."""
    path = other(cassette)
    path.write_bytes(b"\0" * 16 + path.read_bytes()[16:])
    return path


def cut_off(cassette: Path) -> Path:
    """One of which only the first page is left."""
    path = other(cassette)
    os.truncate(path, 4096)
    return path


def database(cassette: Path) -> Path:
    """Somebody's database, which is no cassette."""
    path = cassette.with_name("a.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE a (b)")
    connection.close()
    return path


def beside(companion: str) -> Callable[[Path], Path]:
    """A name that SQLite or a recorder uses beside it, whether a file is there or not."""

    def name(cassette: Path) -> Path:
        return Path(f"{cassette}{companion}")

    name.__name__ = f"beside_{companion}"
    return name


KINDS: list[Callable[[Path], Path]] = [
    *(itself, other, symlink, two_symlinks, folder_symlink, hard_link, by_a_detour, newer, damaged, cut_off, database),
    *map(beside, (*output_files.COMPANIONS, ".part-wal")),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_output_replaces_it(cassette: Path, kind: Callable[[Path], Path]) -> None:
    """Refused before a run and, should it come there during a run, at the end; not a byte changes."""
    path = kind(cassette)
    before = {file: file.read_bytes() for file in cassette.parent.iterdir() if file.is_file()}
    refused = r"^--report .*: name another file$"
    with pytest.raises(SettingsError, match=refused):
        output_files.refuse(path, "--report")
    with pytest.raises(SettingsError, match=refused):
        output_files.write(path, b"{}", "--report")
    with pytest.raises(SettingsError, match=refused):
        output_files.append(path, b"{}", "--report")
    assert {file: file.read_bytes() for file in cassette.parent.iterdir() if file.is_file()} == before


def test_one_that_is_being_made_is_one_already(tmp_path: Path) -> None:
    """Empty, but with its log beside it, or with its lock held; a lock that nobody holds says nothing."""
    for companion in ("-wal", "-journal"):
        path = tmp_path / f"new{companion}.cassette"
        path.touch()
        Path(f"{path}{companion}").write_bytes(b"x")
        with pytest.raises(SettingsError, match="is in use as a cassette"):
            output_files.refuse(path, "-o")
    path = tmp_path / "locked.cassette"
    lock = Path(f"{path}.lock")
    lock.touch()
    output_files.refuse(path, "-o")
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(SettingsError, match=r"locked\.cassette\.lock is there"):
            output_files.refuse(path, "-o")


def test_the_cassette_of_this_run_need_not_be_there_yet(tmp_path: Path) -> None:
    """Nor the names beside it."""
    path = tmp_path / "new.cassette"
    for name in (path, *(Path(f"{path}{companion}") for companion in output_files.COMPANIONS)):
        output_files.refuse(name, "--ready-file")
        with pytest.raises(SettingsError, match=r"is the cassette itself|that the cassette new"):
            output_files.refuse(name, "--ready-file", [path])


def test_it_may_come_there_during_the_run(cassette: Path, tmp_path: Path) -> None:
    """What was free at the start is looked at again when all is written."""
    path = tmp_path / "run.json"

    def run() -> None:
        with output_files.writing(path, "--report") as stream:
            stream.write(b"{}")
            shutil.copy(cassette, path)

    with pytest.raises(SettingsError, match="is a cassette"):
        run()
    assert path.read_bytes() == cassette.read_bytes()
    assert not list(tmp_path.glob(".replayproxy-*"))


def test_two_flags_need_two_files(tmp_path: Path) -> None:
    """The second would replace the first; also under another spelling."""
    for second in (tmp_path / "a", tmp_path / "." / "a"):
        with pytest.raises(SettingsError, match="--report and --junit both name"):
            output_files.refuse_all([("--report", tmp_path / "a"), ("--junit", second)])
    output_files.refuse_all([("--report", tmp_path / "a"), ("--junit", None), ("--ready-file", tmp_path / "b")])
    output_files.refuse_all([("--report", Path("/dev/stderr")), ("--junit", Path("/dev/stderr"))])


# How a file is written


def test_a_file_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    """Nothing half written is ever seen under its name, and nothing is left beside it."""
    path = tmp_path / "a.csv"
    path.write_text("old")
    path.chmod(0o640)
    with output_files.writing(path, "-o") as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_text() == "old"
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o640)

    def breaking() -> None:
        with output_files.writing(path, "-o") as stream:
            stream.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        breaking()
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]


def test_a_new_file_has_the_rights_of_the_process(tmp_path: Path) -> None:
    """As a shell's `>` makes it."""
    mask = os.umask(0o027)
    try:
        output_files.write(tmp_path / "a", b"x", "-o")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """What it leads to is replaced."""
    (tmp_path / "link").symlink_to("file")
    for content in (b"one", b"two"):
        output_files.write(tmp_path / "link", content, "-o")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "file").read_bytes() == content


def test_a_pipe_and_a_device_are_written_to(tmp_path: Path) -> None:
    """They are not replaced by a file."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    output_files.write(fifo, b"x" * 100_000, "--report")
    reader.join()
    assert got == [b"x" * 100_000]
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    output_files.write(Path("/dev/null"), b"x", "--report")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_somebody_s_log_behind_dev_stderr_goes_on(tmp_path: Path, cassette: Path) -> None:
    """`--report /dev/stderr 2> log` adds to the log; where that is a cassette it is refused."""
    program = "from replayproxy import output_files; from pathlib import Path; print('a', flush=True);"
    program += "output_files.write(Path('/dev/stdout'), b'b\\n', '--report'); print('c', flush=True)"
    with (tmp_path / "log").open("ab") as log:
        subprocess.run([sys.executable, "-c", program], stdout=log, env=environment(), check=True)
    assert (tmp_path / "log").read_text() == "a\nb\nc\n"
    before = cassette.read_bytes()
    program = program.replace("print('a', flush=True)", "0")
    with cassette.open("ab") as log:
        ran = subprocess.run([sys.executable, "-c", program], stdout=log, stderr=-1, env=environment(), check=False)
    assert b"is a cassette" in ran.stderr
    assert cassette.read_bytes() == before


def test_adding_to_a_file_keeps_it(tmp_path: Path) -> None:
    """A job's summary has what other steps wrote."""
    for text in (b"one\n", b"two\n"):
        output_files.append(tmp_path / "summary.md", text, "GITHUB_STEP_SUMMARY")
    assert (tmp_path / "summary.md").read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no/where.json", "make the folder"),
        ("file/where.json", "Not a directory"),
        (".", "is a folder"),
        ("loop", "Too many levels"),
        ("x" * 300, "File name too long"),
        ("a\0b", "null"),
    ],
)
def test_what_cannot_be_written_is_said_at_once(tmp_path: Path, name: str, sentence: str) -> None:
    """With the reason, and before the run."""
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SettingsError, match=sentence):
        output_files.refuse(tmp_path / name, "--report")


def test_a_disk_that_is_full_leaves_the_old_file(tmp_path: Path) -> None:
    """The new one is not there; why is said."""
    with pytest.raises(ReplayProxyError, match=r"--report .* cannot be written: No space left"):
        output_files.write(Path("/dev/full"), b"x", "--report")


# Every flag that names an output


FLAGS: list[tuple[str, ...]] = [
    ("ls", "{own}", "--csv", "-o", "{out}"),
    ("ls", "{own}", "-o", "{out}"),
    ("show", "{own}", "--json", "-o", "{out}"),
    ("show", "{own}", "--print", "b", "--raw", "-o", "{out}"),
    ("stats", "{own}", "--nl", "-o", "{out}"),
    ("stats", "--explain", "-o", "{out}"),
    ("info", "{own}", "--tsv", "-o", "{out}"),
    ("ctl", "rotate", "-o", "{out}"),
    ("prune", "{own}", "--where", "1", "-o", "{out}"),
    ("redact", "{own}", "-o", "{out}"),
    ("merge", "{out}", "{own}"),
    ("join", "{out}", "--prefill", "{own}", "--decode", "{own}"),
    ("replay", "{own}", "--port", "0", "--admin-port", "off", "--report", "{out}"),
    ("replay", "{own}", "--port", "0", "--admin-port", "off", "--junit", "{out}"),
    ("replay", "{own}", "--port", "0", "--admin-port", "off", "--ready-file", "{out}"),
    ("simulate", "--port", "0", "--admin-port", "off", "--ready-file", "{out}"),
    ("record", "new.cassette", "--upstream", "http://127.0.0.1:1", "--port", "0", "--ready-file", "{out}"),
    ("exec", "{own}", "--allow-empty", "--report", "{out}", "--", "true"),
    ("exec", "{own}", "--allow-empty", "--junit", "{out}", "--", "true"),
    ("demo", "--keep", "{out}"),
]


@pytest.mark.parametrize("words", FLAGS, ids=" ".join)
def test_no_flag_of_any_verb_replaces_one(
    read: Read, cassette: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """Another cassette than the one that is used: a sentence, exit code 2, and not a byte of it changes."""
    monkeypatch.chdir(tmp_path)
    out = other(cassette)
    before = out.read_bytes(), cassette.read_bytes()
    done = read(*(word.format(own=cassette, out=out) for word in words))
    assert (done.code, done.out) == (2, ""), done.err
    assert str(out) in done.err
    assert "name another file" in " ".join(done.err.split())
    assert (out.read_bytes(), cassette.read_bytes()) == before
    assert not (tmp_path / "new.cassette").exists()


def test_the_command_is_not_run_where_the_report_cannot_be_written(read: Read, cassette: Path, tmp_path: Path) -> None:
    """Refused before the run: an hour of tests would be for nothing."""
    for flag, target in (("--report", cassette), ("--junit", tmp_path / "no" / "junit.xml")):
        ran = read("exec", cassette, flag, target, "--", "touch", str(tmp_path / "it-ran"))
        assert (ran.code, str(target) in ran.err) == (2, True)
        assert not (tmp_path / "it-ran").exists()


def test_a_summary_in_ci_is_added_to_and_never_a_cassette(cassette: Path, tmp_path: Path) -> None:
    """GITHUB_STEP_SUMMARY is an output as well."""
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    assert execute(cassette, "--", *asking("hello"), **github).code == 0
    assert summary.read_text().startswith("before\n### replayproxy passed")
    before = cassette.read_bytes()
    ran = execute(cassette, "--", *asking("hello"), **github | {"GITHUB_STEP_SUMMARY": str(cassette)})
    assert (ran.code, "GITHUB_STEP_SUMMARY" in ran.err) == (2, True)
    assert cassette.read_bytes() == before


def test_a_report_that_fails_at_the_end_keeps_the_rest(cassette: Path, tmp_path: Path) -> None:
    """The other file, the account and the command's own exit code are there all the same."""
    report, junit = tmp_path / "run.json", tmp_path / "junit.xml"
    copy = [sys.executable, "-c", f"import shutil, sys; shutil.copy({str(cassette)!r}, {str(report)!r}); sys.exit(5)"]
    ran = execute(cassette, "--allow-empty", "--report", report, "--junit", junit, "--", *copy)
    assert (ran.code, report.read_bytes()) == (5, cassette.read_bytes())
    assert "is a cassette, and a cassette is never replaced" in ran.err
    assert "failed, exit code 5" in ran.err
    assert junit.read_text().startswith("<?xml")


def test_a_reading_verb_replaces_what_is_no_cassette(read: Read, cassette: Path, tmp_path: Path) -> None:
    """Yesterday's CSV goes as it always did."""
    out = tmp_path / "out.csv"
    out.write_text("yesterday")
    assert read("ls", cassette, "--csv", "-o", out).code == 0
    assert "yesterday" not in out.read_text()
