"""AIPerf's workload: the recorded bodies at the recorded times, by AIPerf's own loader."""

from __future__ import annotations

from pathlib import Path

import orjson

from replayproxy.formats.aiperf import AIPERF
from tests.formats.files import exchanges_of, exported
from tests.formats.peers import run
from tests.formats.workloads import conversations

LOAD = """
import json, sys
from aiperf.dataset.loader.models import MooncakeTrace
from aiperf.dataset.loader.mooncake_trace import MooncakeTraceDatasetLoader as Loader
traces = [MooncakeTrace.model_validate_json(line) for line in open(sys.argv[1])]
loader = Loader.__new__(Loader)
sessions = loader._group_traces(traces)
modes = {str(loader._infer_context_mode(turns)) for turns in sessions.values()}
turns = {session: len(found) for session, found in sessions.items()}
print(json.dumps({"payloads": [trace.payload for trace in traces], "turns": turns, "modes": sorted(modes)}))
"""


def test_bodies_arrivals_and_conversations(tmp_path: Path) -> None:
    """Later turns also say how long after the turn before they came."""
    lines = [orjson.loads(line) for line in exported(conversations(tmp_path / "a.cassette"), AIPERF).splitlines()]
    assert [line["timestamp"] for line in lines] == [0, 500, 1000, 1500]
    assert lines[2]["session_id"] == lines[0]["session_id"]
    assert [line for line in lines if "delay" in line] == [lines[2]]
    assert lines[0]["payload"]["messages"] == [{"role": "user", "content": "What is a cassette?"}]


def test_aiperf_reads_it(tmp_path: Path) -> None:
    """Payloads are sent as they are, and sessions bring their own history."""
    cassette = conversations(tmp_path / "a.cassette")
    path = tmp_path / "workload.jsonl"
    path.write_bytes(exported(cassette, AIPERF))
    found = run("aiperf", LOAD, path)
    bodies = [orjson.loads(each.request.body) for each in exchanges_of(cassette) if each.request.body]
    assert found["payloads"] == [body for body in bodies if body.get("n") is None]
    assert sorted(found["turns"].values()) == [1, 1, 2]
    assert found["modes"] == ["message_array_with_responses"]
