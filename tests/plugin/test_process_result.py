"""What a process reports goes to another one as JSON."""

from __future__ import annotations

import json

from replayproxy.proxy.result import RunResult
from replayproxy.pytest_plugin.process_result import CassetteUse, ItemResult, ProcessResult


def test_it_survives_json() -> None:
    """As it goes from worker to controller: every field."""
    name = "test_a.py::test_b"
    process = ProcessResult(
        tests={name: ItemResult(name, "b.cassette", {"replay": 2}, [{"code": "no_match"}])},
        cassettes={
            "b.cassette": CassetteUse("once", RunResult.empty("auto").document(), True, "b.part", named=True),
            "c.cassette": CassetteUse("none"),
        },
        selected={"test_a.py": [name]},
        narrowed=["*"],
        late=[{"cassette": "b.cassette"}],
        folders=["cassettes"],
        spared=["cassettes/test_c"],
    )
    assert ProcessResult.from_document(json.loads(json.dumps(process.document()))) == process
    assert ProcessResult.from_document(ProcessResult().document()) == ProcessResult()


def test_what_was_recorded_is_counted_by_its_proxies() -> None:
    """Nothing before they have stopped."""
    assert CassetteUse("all").recorded == 0
    assert CassetteUse("all", RunResult.empty("auto").document() | {"recorded": 3}).recorded == 3
