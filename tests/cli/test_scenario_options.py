"""`drive --scenario`: table, CSV that grows, JSON, logs, and mistakes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import replayproxy
from replayproxy import lifetime
from replayproxy.cli.scenario_options import NAMES, scenario_of
from replayproxy.drive.scenario import SCENARIOS
from tests.cli.tapes import Read

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A simulator; this process keeps its signals and its garbage collector."""
    monkeypatch.setattr(lifetime, "own_process", lambda: None)
    monkeypatch.setattr(lifetime, "listen_for_signals", lambda _: None)
    with replayproxy.simulate(model="tiny") as running:
        yield running.base_url.removesuffix("/v1")


def test_artefacts(read: Read, server: str, tmp_path: Path) -> None:
    """FTL and TPS twice; a row per phase; a log per user; everything as JSON."""
    rows, document, logs = tmp_path / "r.csv", tmp_path / "r.json", tmp_path / "logs"
    options = ("--max-new-tokens", "3", "--max-lateness", "60s", "--save-results", rows, "--dtype", "bf16")
    ran = read("drive", "--scenario", "unit", "--upstream", server, *options, "--save-json", document, "--logs", logs)
    assert ran.code == 0, ran.err
    assert [line.split("  ")[0] for line in ran.out.splitlines() if "per user" in line] == ["Warm-up", "Run"]
    again = read("drive", "--scenario", "unit", "--upstream", server, *options, "--json")
    assert json.loads(again.out)["exit_code"] == 0
    lines = rows.read_text().splitlines()
    assert lines[0].startswith("model,dtype,quantize,batch,input_length,max_new_tokens,tp_size,mode,phase,ftl_ms,tps")
    assert [line.split(",")[:9] for line in lines[1:]] == [
        ["tiny", "bf16", "", "1", "128", "3", "1", "chat", phase] for phase in ("warmup", "run")
    ] * 2
    assert json.loads(document.read_text())["phases"][1]["requests"][0]["output_tokens"] == 3
    assert [path.name for path in logs.iterdir()] == ["run_1.log"]


def test_mistakes(read: Read, tmp_path: Path) -> None:
    """Neither, both, another machine, and one file for two results."""
    assert "CASSETTE, or --scenario" in read("drive", "--upstream", NOWHERE).err
    assert read("drive", "x.cassette", "--scenario", "unit", "--upstream", NOWHERE).code == 2
    assert "--yes" in read("drive", "--scenario", "unit", "--upstream", "http://203.0.113.1").err
    same = ("--save-results", tmp_path / "a", "--save-json", tmp_path / "a")
    assert "both name" in read("drive", "--scenario", "unit", "--upstream", NOWHERE, *same).err
    ran = read("drive", "--scenario", "users", "--upstream", NOWHERE, "--model-id", "m")
    assert (ran.code, "nobody answers" in ran.err) == (1, True)


def test_names_are_those_of_the_scenarios() -> None:
    """The table of the command line, which loads no scenario."""
    assert NAMES == SCENARIOS
    assert scenario_of.__doc__
