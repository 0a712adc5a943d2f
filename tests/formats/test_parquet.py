"""Parquet: lossless with the bodies, and what DuckDB says of it is what `stats` and SQLite say."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from replayproxy.core.identity.rules import MatchRules
from replayproxy.formats.parquet import PARQUET, schema
from replayproxy.formats.source import UnreadableSource
from tests.docs.pages import ROOT
from tests.formats.files import every_kind, exchanges_of, exported, imported, meta_of, nature_of

GOLDEN = ROOT / "cassettes" / "format-2.cassette"


@pytest.mark.parametrize("kind", ["golden", "every"])
def test_a_cassette_comes_back_identical(kind: str, tmp_path: Path) -> None:
    """By key, occurrence, flags and digest, with legs and rules."""
    path = GOLDEN if kind == "golden" else every_kind(tmp_path, MatchRules("exact"))
    copy, done = imported(tmp_path / "a.parquet", exported(path, PARQUET))
    assert nature_of(copy) == nature_of(path)
    assert exchanges_of(copy) == exchanges_of(path)
    assert meta_of(copy)["match"] == meta_of(path)["match"]
    assert (done.lost, done.beats) == ([], {"chunks": done.exchanges})


SUMS = """
SELECT coalesce(model, '') AS model, count(*), sum(completion_tokens), round(sum(ttft_s), 6), round(sum(total_s), 6),
       sum(chunks), sum(response_size)
FROM {} WHERE state = 'done' AND ending = 'complete' AND status BETWEEN 200 AND 399 GROUP BY 1 ORDER BY 1
"""

SUM_OF_CHUNKS = "SELECT sum(len(chunk_at_ns)) FROM '{}'"
KINDS = "SELECT DISTINCT typeof(recorded_at) FROM '{}'"


def test_a_query_gives_the_same_in_duckdb_and_in_sqlite(tmp_path: Path) -> None:
    """The columns have the names of the view; the times of chunks are a list."""
    path = tmp_path / "a.parquet"
    path.write_bytes(exported(GOLDEN, PARQUET))
    with closing(sqlite3.connect(f"file:{GOLDEN}?mode=ro", uri=True)) as sqlite:
        expected = sqlite.execute(SUMS.format("v_exchange")).fetchall()
        chunks = sqlite.execute("SELECT sum(chunks) FROM v_exchange").fetchall()
    assert duckdb.execute(SUMS.format(f"'{path}'")).fetchall() == expected
    assert duckdb.execute(SUM_OF_CHUNKS.format(path)).fetchall() == chunks
    assert duckdb.execute(KINDS.format(path)).fetchall() == [("TIMESTAMP WITH TIME ZONE",)]


def test_every_column_of_the_view_is_there() -> None:
    """With the same name."""
    with closing(sqlite3.connect(f"file:{GOLDEN}?mode=ro", uri=True)) as sqlite:
        names = [row[1] for row in sqlite.execute("PRAGMA table_info(v_exchange)")]
    assert schema().names[: len(names)] == names


def test_without_bodies_it_is_smaller_and_not_a_recording(tmp_path: Path) -> None:
    """The error names what is missing."""
    content = exported(GOLDEN, PARQUET, with_bodies=False)
    assert "request_body" not in pq.read_schema(io.BytesIO(content)).names
    with pytest.raises(UnreadableSource, match="it has no column request_body, response_body"):
        imported(tmp_path / "a.parquet", content)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PAR1" + b"\0" * 100 + b"PAR1", "it is not Parquet, or damaged"),
        (b"PAR1", "it is not Parquet, or damaged"),
    ],
)
def test_what_is_not_parquet_is_refused(content: bytes, what: str, tmp_path: Path) -> None:
    """By its first bytes it might be."""
    with pytest.raises(UnreadableSource, match=what):
        imported(tmp_path / "a.parquet", content)


def test_a_table_of_others_is_refused(tmp_path: Path) -> None:
    """With the columns that are missing."""
    out = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), out)
    with pytest.raises(UnreadableSource, match="it has no column chunk_at_ns"):
        imported(tmp_path / "a.parquet", out.getvalue())


def test_a_cut_file_leaves_nothing(tmp_path: Path) -> None:
    """At any place."""
    content = exported(GOLDEN, PARQUET)
    for size in range(1, len(content), len(content) // 20):
        with pytest.raises(UnreadableSource):
            imported(tmp_path / "a.parquet", content[:size], format_name="parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]
