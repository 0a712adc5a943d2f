"""A trace for guidellm, by guidellm's own reader."""

from __future__ import annotations

from pathlib import Path

import orjson

from replayproxy.formats.guidellm import GUIDELLM
from tests.formats.files import exported
from tests.formats.peers import run
from tests.formats.workloads import conversations

LOAD = """
import json, sys
from datasets import load_dataset
from guidellm.data.deserializers.trace_mooncake import MooncakeTraceFormat
from guidellm.schemas.data.deserializers import MooncakeTraceFormatArgs
rows = load_dataset("json", data_files=sys.argv[1], split="train", cache_dir=sys.argv[2])
arguments = MooncakeTraceFormatArgs(kind="mooncake", source={"kind": "json_file", "path": sys.argv[1]})
trace = MooncakeTraceFormat(arguments, rows)
assert trace.find_required_columns(["timestamp", "input_length", "output_length", "hash_ids"]) == []
for row in rows:
    trace.validate_row(row)
print(json.dumps([[row["timestamp"], row["input_length"], row["output_length"]] for row in rows]))
"""


def lines(content: bytes) -> list[list[float]]:
    """What the reader shall see."""
    rows = [orjson.loads(line) for line in content.splitlines()]
    return [[row["timestamp"], row["input_length"], row["output_length"]] for row in rows]


def test_times_are_in_seconds(tmp_path: Path) -> None:
    """With the duration of each request."""
    content = exported(conversations(tmp_path / "a.cassette"), GUIDELLM)
    assert lines(content)[0] == [0.0, 700, 3]
    assert [row[0] for row in lines(content)] == [0.0, 0.5, 1.0, 1.5]
    assert orjson.loads(content.splitlines()[3])["duration"] == 0.05


def test_guidellm_reads_it(tmp_path: Path) -> None:
    """As kind=mooncake, each row valid."""
    path = tmp_path / "trace.jsonl"
    path.write_bytes(exported(conversations(tmp_path / "a.cassette"), GUIDELLM))
    assert run("guidellm", LOAD, path, tmp_path) == lines(path.read_bytes())
