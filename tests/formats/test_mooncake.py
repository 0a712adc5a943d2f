"""Mooncake's traces: the fields that readers know, and AIPerf's own validator."""

from __future__ import annotations

import math
from pathlib import Path

import orjson

from replayproxy.formats.mooncake import MOONCAKE, TEXT_HASHES
from tests.docs.pages import ROOT
from tests.formats.files import export_of, exported
from tests.formats.peers import run
from tests.formats.workloads import conversations

VALIDATE = """
import json, sys
from aiperf.dataset.loader.models import MooncakeTrace
from aiperf.dataset.loader.mooncake_trace import MooncakeTraceDatasetLoader
lines = [json.loads(line) for line in open(sys.argv[1])]
assert all(MooncakeTraceDatasetLoader.can_load(line) for line in lines)
traces = [MooncakeTrace.model_validate(line) for line in lines]
print(json.dumps([[t.timestamp, t.input_length, t.output_length, t.hash_ids] for t in traces]))
"""


def test_a_line_has_the_four_fields(tmp_path: Path) -> None:
    """A hash per 512 tokens; a conversation shares its beginning; ids that were returned are used."""
    content, done = export_of(conversations(tmp_path / "a.cassette"), MOONCAKE)
    lines = [orjson.loads(line) for line in content.splitlines()]
    assert all(set(line) == {"timestamp", "input_length", "output_length", "hash_ids"} for line in lines)
    assert [line["timestamp"] for line in lines] == [0, 500, 1000, 1500]
    assert all(len(line["hash_ids"]) == math.ceil(line["input_length"] / 512) for line in lines)
    assert done.notes.estimated[TEXT_HASHES] == 3
    assert sorted({number for line in lines for number in line["hash_ids"]}) == list(range(6))


def test_aiperf_reads_it(tmp_path: Path) -> None:
    """Each line by its own loader, with the same values."""
    path = tmp_path / "trace.jsonl"
    path.write_bytes(exported(ROOT / "cassettes" / "format-2.cassette", MOONCAKE))
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert len(lines) > 20
    assert run("aiperf", VALIDATE, path) == [
        [line["timestamp"], line["input_length"], line["output_length"], line["hash_ids"]] for line in lines
    ]
