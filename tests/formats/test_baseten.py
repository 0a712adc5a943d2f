"""Baseten's trace: the schema that AIPerf checks, by AIPerf itself."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow.parquet as pq

from replayproxy.formats.baseten import BASETEN
from tests.formats.files import exported
from tests.formats.peers import run
from tests.formats.workloads import conversations

LOAD = """
import json, sys
import pyarrow.parquet as pq
from aiperf.dataset.loader.baseten_trace import BasetenTrace, BasetenTraceDatasetLoader
assert BasetenTraceDatasetLoader.can_load(filename=sys.argv[1])
traces = [BasetenTrace.model_validate(row) for row in pq.read_table(sys.argv[1]).to_pylist()]
print(json.dumps([[t.prompt, t.input_tokens, t.output_tokens, t.provided_session_id] for t in traces]))
"""


def test_rows_have_prompts_answers_and_times(tmp_path: Path) -> None:
    """In ms."""
    rows = pq.read_table(io.BytesIO(exported(conversations(tmp_path / "a.cassette"), BASETEN))).to_pylist()
    assert [(row["input_tokens"], row["output_tokens"]) for row in rows] == [(700, 3), (20, 3), (27, 1), (1000, 4)]
    assert rows[0]["output_text"] == "Hi there!"
    assert rows[0]["duration_ttft_ms"] == 100
    assert rows[2]["provided_session_id"] == rows[0]["provided_session_id"]
    assert rows[3]["prompt"] == "x"
    assert rows[1]["timestamp_start_unix_ms"] - rows[0]["timestamp_start_unix_ms"] == 500


def test_aiperf_reads_it(tmp_path: Path) -> None:
    """Each row by its model."""
    path = tmp_path / "trace.parquet"
    path.write_bytes(exported(conversations(tmp_path / "a.cassette"), BASETEN))
    rows = pq.read_table(path).to_pylist()
    names = ("prompt", "input_tokens", "output_tokens", "provided_session_id")
    assert run("aiperf", LOAD, path) == [[row[name] for name in names] for row in rows]
