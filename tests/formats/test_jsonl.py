"""Our JSON lines: what goes out comes back identical, and a file that is not ours is refused with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from replayproxy.core.identity.rules import MatchRules
from replayproxy.formats.jsonl import JSONL
from replayproxy.formats.source import UnreadableSource
from replayproxy.model import Request
from tests.docs.pages import ROOT
from tests.formats.files import every_kind, exchange, exchanges_of, exported, imported, meta_of, nature_of
from tests.recordings import asked, record, said


def test_a_real_cassette_comes_back_identical(tmp_path: Path) -> None:
    """Each exchange has the same key, occurrence, time, flags and digest; the legs are the same too."""
    path = ROOT / "cassettes" / "format-2.cassette"
    copy, done = imported(tmp_path / "a.jsonl", exported(path, JSONL))
    assert done.beats == {"chunks": done.exchanges}
    assert done.lost == []
    assert nature_of(copy) == nature_of(path)
    assert exchanges_of(copy) == exchanges_of(path)


def test_a_cassette_of_format_1_comes_back_with_its_digests(tmp_path: Path) -> None:
    """In the newest format, where answers whose client had left are played and so have an occurrence."""
    path = ROOT / "cassettes" / "format-1.cassette"
    copy, _ = imported(tmp_path / "a.jsonl", exported(path, JSONL))
    assert [row[0] for row in nature_of(copy)] == [row[0] for row in nature_of(path)]
    assert exchanges_of(copy) == exchanges_of(path)


def test_every_kind_of_exchange_comes_back_identical(tmp_path: Path) -> None:
    """With legs, scopes, broken endings, bodies that are not text, and rules of their own."""
    path = every_kind(tmp_path, MatchRules("exact", normalise=("uuid",)))
    copy, _ = imported(tmp_path / "a.jsonl", exported(path, JSONL))
    assert nature_of(copy) == nature_of(path)
    assert exchanges_of(copy) == exchanges_of(path)
    before, after = meta_of(path), meta_of(copy)
    assert {name: after[name] for name in ("match", "redaction")} == {
        name: before[name] for name in ("match", "redaction")
    }
    assert "imported" not in after


def test_a_target_that_is_not_utf_8_survives(tmp_path: Path) -> None:
    """A target is bytes, one per character."""
    request = Request("GET", "/v1/\xff?x=\xe9")
    path = record(tmp_path / "a.cassette", [exchange(request, said([b"ok"]))])
    copy, _ = imported(tmp_path / "a.jsonl", exported(path, JSONL))
    assert nature_of(copy) == nature_of(path)


def test_a_file_without_the_first_line_is_read(tmp_path: Path) -> None:
    """With the default rules: `grep` and `tail` leave such files."""
    path = record(tmp_path / "a.cassette", [exchange(asked("a"), said([b"one", b"two"]))])
    lines = exported(path, JSONL).splitlines(keepends=True)
    copy, _ = imported(tmp_path / "a.jsonl", lines[1])
    assert exchanges_of(copy) == exchanges_of(path)


def line(**changes: Any) -> bytes:
    """One exchange as a line, with changes."""
    response = {"status": 200, "headers": [["a", "b"]], "body": "hi", "cuts": [2], "times_ns": [5], "end_ns": 5}
    value: dict[str, Any] = {
        "recorded_at_ns": 1,
        "request": {"method": "POST", "target": "/v1", "headers": [], "body": ""},
        "response": response,
    }
    for name, change in changes.items():
        part, _, member = name.partition("__")
        if member:
            value[part][member] = change
        else:
            value[part] = change
    return orjson.dumps(value) + b"\n"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"response__cuts": [1]}, "do not cover the body"),
        ({"response__cuts": [1, -1, 2]}, "'cuts' is not a list of whole numbers"),
        ({"response__times_ns": [9]}, "the times go back"),
        ({"response__times_ns": [1 << 63]}, "'times_ns' is not a list"),
        ({"response__status": 99}, "'status' is not a status"),
        ({"response__status": True}, "'status' is not a whole number"),
        ({"response__ending": "never"}, "does not end in 'never'"),
        ({"response__continued": [4]}, "'continued' does not name chunks"),
        ({"response__headers": [["a b", "c"]]}, "is not the name of a header field"),
        ({"response__headers": [["a", "c\nd"]]}, "has a line end in it"),
        ({"response__body": None, "response__body_base64": "*"}, "is not base64"),
        ({"request__method": "GET /"}, "is not a method"),
        ({"request__target": "/a b"}, "a blank or a control character"),
        ({"request": []}, "'request' is not an object"),
        ({"recorded_at_ns": -1}, "'recorded_at_ns' is not a whole number"),
        ({"legs": [{"role": "third"}]}, "'third' is not the role of a leg"),
        ({"legs": 7}, "'legs' is not a list"),
    ],
)
def test_a_line_that_breaks_a_rule_is_refused(changes: dict[str, Any], what: str, tmp_path: Path) -> None:
    """With the file, the line and the rule; and no cassette is left."""
    with pytest.raises(UnreadableSource, match=what) as raised:
        imported(tmp_path / "a.jsonl", line() + line(**changes))
    assert f"{tmp_path / 'a.jsonl'} cannot be imported: line 2: " in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_later_version_is_refused_by_name(tmp_path: Path) -> None:
    """Rather than read by halves."""
    head = b'{"replayproxy":"9","format":"replayproxy-jsonl","version":2}\n'
    with pytest.raises(UnreadableSource, match="is in version 2 of replayproxy-jsonl"):
        imported(tmp_path / "a.jsonl", head + line())


def test_credentials_written_into_a_line_are_masked(tmp_path: Path) -> None:
    """Somebody may have edited the file."""
    fields = [["Authorization", "Bearer sk-proj-" + "aB3" * 12], ["Content-Type", "text/plain"]]
    copy, _ = imported(tmp_path / "a.jsonl", line(request__headers=fields, request__body="sk-proj-" + "aB3" * 12))
    assert b"aB3aB3" not in copy.read_bytes()
    (found,) = exchanges_of(copy)
    assert "aB3" not in str(found)
