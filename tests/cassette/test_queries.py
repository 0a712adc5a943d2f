"""Rows for people, by SQL of theirs, and nothing can be written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from replayproxy.cassette.reader import CassetteReader
from replayproxy.errors import CassetteError
from tests.recordings import (
    MATCHER,
    as_stored,
    record,
    samples,
    stored,
)


def test_exchanges_are_listed_and_found(tmp_path: Path) -> None:
    """Rows for people, by SQL of theirs; numbers by the beginning of a short id; each exchange whole."""
    with CassetteReader(record(tmp_path / "a", samples())) as cassette:
        rows = list(cassette.rows())
        assert [row["number"] for row in rows] == list(range(1, len(samples()) + 1))
        assert rows[1]["scope"] == "a scope"
        assert rows[4]["legs"] == 2
        chosen = cassette.rows("status >= :least AND stream", {"least": 200}, order="number DESC", limit=2)
        assert [row["number"] for row in chosen] == [20, 19]
        for row in rows:
            assert row["number"] in cassette.find(row["id"])
            assert cassette.request(row["number"]) == samples()[row["number"] - 1].request
        assert [item for _, item in stored(cassette)] == [as_stored(item) for item in samples()]
        with pytest.raises(CassetteError, match="has no such recording"):
            cassette.exchange(99)


def test_the_columns_for_people(tmp_path: Path) -> None:
    """What `ls`, `stats` and SQL want, spelled for people."""
    with CassetteReader(record(tmp_path / "a", samples()[:4])) as cassette:
        row = dict(next(cassette.rows()))
        answer = as_stored(samples()[0]).response
        assert row.pop("key") == MATCHER.key(samples()[0].request)
        assert len(row.pop("id")) == 8
        assert row.pop("tpot_s") == pytest.approx((answer.timeline.end - answer.timeline.chunks[1]) / 1e9 / 19)
        assert row == {
            "number": 1,
            "client_left": 0,
            "request_cut": 0,
            "opaque": 0,
            "starved_s": 0.0,
            "occurrence": 0,
            "recorded_at": "2025-10-09T08:53:20.000Z",
            "method": "POST",
            "path": "/v1/chat/completions",
            "model": "tiny",
            "stream": 1,
            "status": 200,
            "state": "done",
            "ending": "complete",
            "scope": "",
            "chunks": 24,
            "stalled": 0,
            "legs": 0,
            "request_size": len(samples()[0].request.body),
            "response_size": len(answer.body),
            "ttft_s": answer.timeline.chunks[1] // 1000 / 1e6,
            "total_s": answer.timeline.end // 1000 / 1e6,
            "prompt_tokens": 7,
            "completion_tokens": 20,
            "cached_tokens": None,
            "finish": "stop",
            "transfer": None,
        }
        answers = {row["number"]: (row["finish"], row["cached_tokens"], row["ttft_s"]) for row in cassette.rows()}
        assert answers[3] == ("length", 2, None)
        assert [row["ending"] for row in cassette.rows("ending <> 'complete'")] == ["upstream_cut"]


def test_nothing_can_be_written_through_a_reader(tmp_path: Path) -> None:
    """Not by SQL from the keyboard either, also when it has tables of its own in memory."""
    path = record(tmp_path / "a.cassette", samples())
    for allow in (False, True):
        with CassetteReader(path, allow_incomplete=allow) as cassette:
            for sql in ("DELETE FROM exchange", "PRAGMA user_version = 7", "DROP VIEW v_exchange", "VACUUM"):
                with pytest.raises(CassetteError):
                    cassette.all(sql)
    shutil.copy(path, tmp_path / "b.cassette")
    with CassetteReader(tmp_path / "b.cassette") as copied:
        assert [item for _, item in stored(copied)] == [as_stored(item) for item in samples()]
