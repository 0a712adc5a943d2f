"""`vllm bench serve` against the mock engine: no warning, and the words of the run that was recorded."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.live.conftest import Figures
from tests.live.mock_engine import HOME, PYTHON, mock_engine
from tests.live.server import RealVllm
from tests.processes import recording

PROMPTS = 20


def bench(url: str, folder: Path) -> tuple[dict[str, Any], str]:
    """What it measured, and what it wrote. Its prompts are random, and the same in each run."""
    install: list[str | Path] = [PYTHON, "-m", "pip", "--quiet", "--quiet", "install", "pandas", "datasets"]
    subprocess.run(install, check=True)
    command: list[str | Path] = [
        *(PYTHON.with_name("vllm"), "bench", "serve", "--base-url", url, "--model", HOME / "tiny"),
        *("--served-model-name", "tiny", "--endpoint", "/v1/completions", "--dataset-name", "random"),
        *("--random-input-len", "40", "--random-output-len", "24", "--num-prompts", str(PROMPTS), "--seed", "1"),
        *("--request-rate", "20", "--ignore-eos", "--temperature", "0", "--extra-body", '{"return_token_ids": true}'),
        *("--save-result", "--save-detailed", "--result-dir", folder, "--result-filename", "result.json"),
        "--disable-tqdm",
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert ran.returncode == 0, ran.stderr[-4000:]
    return json.loads((folder / "result.json").read_bytes()), ran.stdout + ran.stderr


def warnings_in(words: str) -> list[str]:
    """The lines that warn or complain."""
    return [line for line in words.splitlines() if "WARN" in line or "rror" in line]


@pytest.mark.long
def test_a_benchmark_runs_against_it(vllm: RealVllm, tmp_path: Path, figures: Figures) -> None:
    """The texts and lengths of the recorded run, and no other warnings than against the real server."""
    folders = [tmp_path / name for name in ("real", "mock")]
    for folder in folders:
        folder.mkdir()
    cassette = tmp_path / "bench.cassette"
    with recording(cassette, vllm.url) as proxy:
        first, words = bench(proxy.url, folders[0])
    variables = {"REPLAYPROXY_CASSETTE": str(cassette), "SIMULATE_ELAPSED_TIME": "1"}
    with mock_engine(tmp_path / "log", variables) as engine:
        again, words_again = bench(engine.url, folders[1])
    assert (first["completed"], again["completed"], again["failed"]) == (PROMPTS, PROMPTS, 0)
    for name in ("generated_texts", "input_lens", "output_lens"):
        assert again[name] == first[name], name
    assert set(map(_bare, warnings_in(words_again))) <= set(map(_bare, warnings_in(words)))
    times = [
        f"{name} {run['median_ttft_ms']:.1f} ms and {run['median_tpot_ms']:.2f} ms"
        for name, run in (("real", first), ("mock", again))
    ]
    figures.append(f"vllm bench serve, median TTFT and TPOT: {', '.join(times)}")


def _bare(line: str) -> str:
    """A line of a log without its time."""
    return line.partition("] ")[2] or line
