"""Tests of `cli/terminal/cassette_page`: `replayproxy info`."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import replayproxy
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.identity.rules import DEFAULT_IGNORE, Matcher, MatchRules
from tests.cli.tapes import Read, chat, writing


def test_everything_as_data(read: Read, mixed: Path) -> None:
    """What it is, by which rules, what it holds, how large, and what is missing."""
    known = json.loads(read("info", mixed, "--json").out)
    sizes = known.pop("bytes")
    assert known == {
        "cassette": str(mixed),
        "format": 3,
        "creator": f"replayproxy {replayproxy.__version__}",
        "sealed": False,
        "match": {
            "profile": "default",
            "ignore": list(DEFAULT_IGNORE),
            "normalise": [],
            "headers": [],
            "defaults": False,
        },
        "redaction": {"rules": []},
        "meta": {},
        "exchanges": 8,
        "first_recorded_at": "2026-11-18T11:06:40.000Z",
        "last_recorded_at": "2026-11-18T11:06:47.000Z",
        "endings": {"complete": 5, "client_left": 1, "in flight": 1, "upstream_cut": 1},
        "statuses": {"200": 6, "400": 1},
        "models": {"tiny": 5, "qwen": 1},
        "endpoints": {"POST /v1/chat/completions": 7, "GET /v1/models": 1},
        "opaque": 0,
        "stream_ends": {"streams": 3, "checked": 3, "missing": {}},
        "dictionaries": [],
        "starved": {"answers": 0, "longest_s": 0.0},
        "dropped": {},
        "foreign": [],
        "server_state": {},
    }
    parts = ("requests", "answers", "times", "legs", "in_flight", "dictionaries", "rows_and_free_space")
    assert sum(sizes[part] for part in parts) == sizes["file"]
    assert sizes["file"] == mixed.stat().st_size + Path(f"{mixed}-wal").stat().st_size
    rows = json.loads(read("ls", mixed, "--json").out)
    assert sizes["request_bodies"] == sum(row["request_size"] for row in rows)
    assert sizes["response_bodies"] == sum(row["response_size"] for row in rows)
    assert sizes["legs"] > 0
    assert sizes["in_flight"] > 0


def test_a_page_for_people(read: Read, tmp_path: Path) -> None:
    """With every ignored path, what was dropped, and what each part takes."""
    path = tmp_path / "a.cassette"
    keeper = CassetteWriter(path, Matcher(MatchRules(ignore=("$.seed",))))
    keeper.begin()
    for number in range(40):
        keeper.keep(chat(f"{number}", words=[f" word{number % 7}{place % 5}" for place in range(200)], started=number))
    keeper.note_dropped("full", 3, 1)
    keeper.note_dropped("full", 2, 2)
    keeper.note_dropped("disk", 1, 3)
    keeper.commit()
    keeper.seal()
    lines = read("info", path).out.splitlines()
    assert lines[:8] == [
        str(path),
        f"format     cassette format 3, by replayproxy {replayproxy.__version__}, sealed",
        f"match      default   ignores {' '.join(DEFAULT_IGNORE)} $.seed",
        "redaction  none: recorded before secrets were masked",
        "recorded   40 exchanges, 2026-11-18 11:06:40.000Z to 2026-11-18 11:06:40.039Z",
        "endings    complete 40",
        "statuses   200 40",
        "models     tiny 40",
    ]
    text = "\n".join(lines)
    assert "dropped    full 5, disk 1" in text
    assert re.search(r"^trained    \w+ #\d+ ", text, re.MULTILINE)
    assert re.search(r"^sizes      bodies \S+ KiB: .* ->   file \S+ KiB, \d+\.\d\d %$", text, re.MULTILINE)
    assert re.search(r"^  answers +\S+ K?i?B +\d+\.\d\d %$", text, re.MULTILINE)


def test_all_match_rules_are_shown(read: Read, tmp_path: Path) -> None:
    """Each kind by its name."""
    path = tmp_path / "a.cassette"
    with writing(path, MatchRules("exact", normalise=("date", "uuid"), headers=("x-tenant",))):
        pass
    lines = read("info", path).out.splitlines()
    assert lines[2:5] == ["match      exact   ignores nothing", "normalise  date uuid", "headers    x-tenant"]


def test_an_empty_cassette(read: Read, empty: Path) -> None:
    """Holds nothing, and takes no share of nothing."""
    ran = read("info", empty)
    assert ran.code == 0
    assert "recorded   0 exchanges\n" in ran.out
    assert "%" not in ran.out


def test_what_is_not_ours_is_named(read: Read, tmp_path: Path) -> None:
    """Views, indexes and tables of the user's own."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(chat())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE VIEW chats AS SELECT * FROM v_exchange")
        connection.execute("CREATE TABLE [my notes] (a)")
    connection.close()
    named = [{"kind": "table", "name": "my notes"}, {"kind": "view", "name": "chats"}]
    assert json.loads(read("info", path, "--json").out)["foreign"] == named
    assert "not ours   table my notes, view chats" in read("info", path).out


def test_as_rows(read: Read, mixed: Path) -> None:
    """Names with points, for CSV."""
    rows = dict(line.split(",", 1) for line in read("info", mixed, "--csv").out.splitlines())
    assert (rows["name"], rows["format"], rows["match.ignore.0"], rows["endings.complete"]) == (
        "value",
        "3",
        "$.user",
        "5",
    )
