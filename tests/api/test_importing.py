"""Imports: whole or not at all, masked as when recording, with what was lost."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from replayproxy.api.importing import import_files
from replayproxy.errors import CassetteError, SettingsError
from replayproxy.formats.har import HAR
from replayproxy.formats.jsonl import JSONL
from replayproxy.formats.source import UnreadableSource
from tests.formats.files import every_kind, exchanges_of, exported, imported, meta_of, nature_of
from tests.formats.test_har import archive, entry
from tests.recordings import asked, chats, exchange, record, said

SECRET = "sk-proj-" + "aB3" * 12


def test_a_cassette_that_is_there_stays(tmp_path: Path) -> None:
    """It cannot be made again."""
    path = every_kind(tmp_path)
    before = path.read_bytes()
    (tmp_path / "a.har").write_text(archive(entry()))
    with pytest.raises(CassetteError, match="is there already"):
        import_files(path, [tmp_path / "a.har"])
    assert path.read_bytes() == before


def test_nothing_is_left_of_an_import_that_fails_or_is_interrupted(tmp_path: Path) -> None:
    """Neither a file nor a lock; Ctrl-C is an exception like others."""
    path = record(tmp_path / "a.cassette", chats(600))
    (tmp_path / "a.jsonl").write_bytes(exported(path, JSONL))

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        import_files(tmp_path / "b.cassette", [tmp_path / "a.jsonl"], progress=interrupt)
    assert sorted(tmp_path.iterdir()) == before
    (tmp_path / "a.jsonl").write_bytes(exported(path, JSONL)[:-10])
    with pytest.raises(UnreadableSource, match="line 601 is not JSON"):
        import_files(tmp_path / "b.cassette", [tmp_path / "a.jsonl"])
    assert sorted(tmp_path.iterdir()) == before


def test_secrets_are_masked_as_when_recording(tmp_path: Path) -> None:
    """Credentials of the request, their echo in the answer, keys of known formats."""
    value = entry()
    value["request"]["headers"].append({"name": "Authorization", "value": "Bearer my-own-token-123456"})
    value["request"]["postData"]["text"] = orjson.dumps({"model": "m", "note": SECRET}).decode()
    value["response"]["content"]["text"] = "data: my-own-token-123456\n\n"
    (found,) = exchanges_of(imported(tmp_path / "a.har", archive(value))[0])
    text = repr(found)
    assert "my-own-token" not in text
    assert "aB3" not in text
    assert len(found.response.body) == len(b"data: my-own-token-123456\n\n")


def test_rules_of_the_user_mask_too(tmp_path: Path) -> None:
    """And stay with the cassette."""
    (tmp_path / "a.har").write_text(archive(entry()))
    import_files(tmp_path / "a.cassette", [tmp_path / "a.har"], redact=("$.model",))
    (found,) = exchanges_of(tmp_path / "a.cassette")
    assert b'"m"' not in found.request.body
    assert meta_of(tmp_path / "a.cassette")["redaction"]["rules"] == ["$.model"]


def test_several_files_and_folders_make_one_cassette(tmp_path: Path) -> None:
    """Of different formats; hidden files of a folder are not read."""
    path = record(tmp_path / "a.cassette", chats(3))
    folder = tmp_path / "folder" / "inner"
    folder.mkdir(parents=True)
    (folder / "one.har").write_text(archive(entry()))
    (folder / ".hidden").write_text("nothing that can be read")
    (tmp_path / "two.jsonl").write_bytes(exported(path, JSONL))
    done = import_files(tmp_path / "b.cassette", [tmp_path / "folder", tmp_path / "two.jsonl"])
    assert done.exchanges == 4
    assert done.formats == {"har": 1, "jsonl": 1}
    stored = meta_of(tmp_path / "b.cassette")["imported"]
    assert (stored["files"], stored["beat"]) == (["one.har", "two.jsonl"], {"ends": 1, "chunks": 3})


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    """Rather than made into an empty cassette."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(UnreadableSource, match="is a folder without files"):
        import_files(tmp_path / "b.cassette", [tmp_path / "folder"])


def test_cassettes_of_different_rules_are_not_mixed(tmp_path: Path) -> None:
    """An exchange would answer requests that it did not answer before."""
    from replayproxy.core.identity.rules import MatchRules

    for name, rules in (("a", MatchRules()), ("b", MatchRules("exact"))):
        path = record(tmp_path / f"{name}.cassette", [exchange(asked("x"), said([b"ok"]))], rules=rules)
        (tmp_path / f"{name}.jsonl").write_bytes(exported(path, JSONL))
    with pytest.raises(SettingsError, match="import each into a cassette of its own"):
        import_files(tmp_path / "c.cassette", [tmp_path / "a.jsonl", tmp_path / "b.jsonl"])


def test_a_hostile_rule_is_refused(tmp_path: Path) -> None:
    """The rules of a file are those of a stranger."""
    head = {
        "format": "replayproxy-jsonl",
        "version": 1,
        "match": {"profile": "default", "ignore": ["$["], "tag": "rp1"},
    }
    with pytest.raises(UnreadableSource, match="its match rules cannot be used"):
        imported(tmp_path / "a.jsonl", orjson.dumps(head))
    head = {"format": "replayproxy-jsonl", "version": 1, "redaction": {"salt": "zz", "rules": []}}
    with pytest.raises(UnreadableSource, match="does not say how its secrets were masked"):
        imported(tmp_path / "a.jsonl", orjson.dumps(head))


def test_a_stream_without_times_can_be_cut_at_its_events(tmp_path: Path) -> None:
    """The bytes stay the same."""
    value = archive(entry())
    (whole,) = exchanges_of(imported(tmp_path / "a.har", value)[0])
    (cut,) = exchanges_of(imported(tmp_path / "b.har", value, split_events=True)[0])
    assert (len(whole.response.cuts), len(cut.response.cuts)) == (1, 2)
    assert whole.response.body == cut.response.body


def test_an_answer_that_http_forbids_is_left_out(tmp_path: Path) -> None:
    """No client could be sent it."""
    value = entry()
    value["response"] |= {"status": 204}
    _, done = imported(tmp_path / "a.har", archive(entry(), value))
    (reason,) = done.notes.skipped
    assert done.exchanges == 1
    assert reason.startswith("an answer that HTTP does not allow")


def test_a_format_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """By its name."""
    (tmp_path / "a").write_text("x")
    with pytest.raises(SettingsError, match="curl can be exported, not imported"):
        import_files(tmp_path / "b.cassette", [tmp_path / "a"], "curl")


def test_what_is_written_twice_is_the_same(tmp_path: Path) -> None:
    """The same file gives the same exchanges."""
    content = exported(every_kind(tmp_path), HAR)
    first, second = (imported(tmp_path / name, content)[0] for name in ("a.har", "b.har"))
    assert nature_of(first) == nature_of(second)
