"""The ways to run that need more than one worker or engine elsewhere; and the scripts of the example."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import orjson
import pytest

from tests.live.conftest import Figures
from tests.live.engine_matrix import ask_each, texts_and_counts
from tests.live.matrix import completion
from tests.live.mock_engine import EXAMPLE, HOME, PYTHON, install_beside, mock_engine
from tests.live.server import RealVllm
from tests.unused_ports import unused_port

QUESTIONS = {str(number): completion(f"{number}: once upon", temperature=0, max_tokens=12) for number in range(8)}
RANDOM = {"RANDOM_MODE": "1"}


@pytest.mark.long
def test_the_scripts_of_the_example_work_together(tmp_path: Path) -> None:
    """A capture of three prompts, and the same three answers without the model."""
    cassette = str(tmp_path / "tiny.cassette")
    said = []
    for variables in ({"CAPTURE_MODE": "1"}, {}):
        with mock_engine(tmp_path / "log", {"REPLAYPROXY_CASSETTE": cassette, **variables}) as engine:
            port = engine.url.rpartition(":")[2]
            ran = subprocess.run([EXAMPLE / "prompt", port], capture_output=True, text=True, check=True)
        said.append([orjson.loads(line)["choices"] for line in ran.stdout.splitlines()])
    assert said[0] == said[1]
    assert len(said[0]) == 3


@pytest.mark.long
def test_sixteen_workers_are_arithmetic(tmp_path: Path) -> None:
    """On any machine, for a model with as many attention heads: the same tokens as of one."""
    said = []
    heads = ("--hf-overrides", '{"num_attention_heads": 16}')
    for size in ("1", "16"):
        with mock_engine(tmp_path / size, RANDOM, "--tensor-parallel-size", size, *heads) as engine:
            said.append(asyncio.run(ask_each(engine.url, QUESTIONS)))
    first, second = ({name: texts_and_counts(answer) for name, answer in answers.items()} for answers in said)
    assert first == second


@pytest.mark.long
def test_two_data_parallel_engines_one_of_them_headless(tmp_path: Path, figures: Figures) -> None:
    """As on two nodes: the second engine has no HTTP server, and both answer."""
    install_beside()
    address: tuple[str, ...] = (
        "--data-parallel-size",
        "2",
        "--data-parallel-size-local",
        "1",
        "--data-parallel-address",
        "127.0.0.1",
    )
    address += ("--data-parallel-rpc-port", str(unused_port()))
    headless: list[str | Path] = [
        *(PYTHON.with_name("vllm"), "serve", HOME / "no-weights", "--headless", "--dtype", "bfloat16"),
        *("--enforce-eager", "--max-model-len", "2048", "--max-num-seqs", "16", "--data-parallel-start-rank", "1"),
        *("--distributed-executor-backend", "replayproxy.vllm_plugin.CassetteExecutor", *address),
    ]
    variables = {**RANDOM, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    with (tmp_path / "headless").open("wb") as log:
        other = subprocess.Popen(
            headless, env={**os.environ, **variables}, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        with mock_engine(tmp_path / "log", RANDOM, *address) as engine:
            answers = asyncio.run(ask_each(engine.url, QUESTIONS, at_once=8))
            served = _by_engine(engine)
    except AssertionError as error:
        error.add_note((tmp_path / "headless").read_text(errors="replace")[-3000:])
        raise
    finally:
        other.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            other.wait(15)
        with suppress(ProcessLookupError):
            os.killpg(other.pid, signal.SIGKILL)
        other.wait()
    assert {answer.status for answer in answers.values()} == {200}
    figures.append(f"two data-parallel engines, one headless: answers by engine {served}")
    assert sum(served) == len(QUESTIONS)
    assert min(served) > 0


def _by_engine(engine: RealVllm) -> list[int]:
    """How many requests each engine has answered, by vLLM's own counters."""
    import re
    import urllib.request

    with urllib.request.urlopen(f"{engine.url}/metrics") as response:
        found = re.findall(
            r'^vllm:request_success_total\{engine="(\d)",finished_reason="length"[^}]*\} (\S+)$',
            response.read().decode(),
            re.MULTILINE,
        )
    counts = {int(number): int(float(count)) for number, count in found}
    if set(counts) != {0, 1}:
        pytest.fail(f"there are the engines {sorted(counts)}")
    return [counts[0], counts[1]]
