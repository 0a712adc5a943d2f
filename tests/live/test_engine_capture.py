"""What the real model says in the engine is captured; without its weights vLLM says it again."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from replayproxy.cassette.reader import CassetteReader
from tests.live.conftest import Figures
from tests.live.engine_matrix import WORDS, ask_each, texts_and_counts
from tests.live.matrix import chat, completion
from tests.live.mock_engine import EXAMPLE, PYTHON, install_beside, mock_engine
from tests.processes import replayproxy

QUESTIONS = {
    str(number): (chat if number % 2 else completion)(
        f"{number}: {WORDS}", max_tokens=8 + number % 17, temperature=number % 3 / 2, seed=number, stream=number % 4 < 2
    )
    for number in range(50)
}


@pytest.mark.long
def test_fifty_answers_are_the_same_without_weights(tmp_path: Path, figures: Figures) -> None:
    """Asked eight at a time, captured and replayed; none of the clients asks for token ids."""
    cassette = tmp_path / "captured.cassette"
    with mock_engine(tmp_path / "capture", {"REPLAYPROXY_CASSETTE": str(cassette), "CAPTURE_MODE": "1"}) as engine:
        first = asyncio.run(ask_each(engine.url, QUESTIONS, at_once=8))
    assert "50 answers were captured" in engine.words
    assert not Path(f"{cassette}-wal").exists()
    with mock_engine(tmp_path / "replay", {"REPLAYPROXY_CASSETTE": str(cassette), "REPLAY_MODE": "1"}) as engine:
        again = asyncio.run(ask_each(engine.url, QUESTIONS, at_once=8))
    said = {name: texts_and_counts(answer) for name, answer in first.items()}
    assert {name: texts_and_counts(answer) for name, answer in again.items()} == said
    with CassetteReader(cassette) as opened:
        rows = list(opened.rows())
    assert {row["path"] for row in rows} == {"/inference/v1/generate"}
    assert len(rows) == 50
    verified = replayproxy("verify", cassette)
    assert verified.returncode == 0, verified.stderr
    figures.append(
        f"capture: 50 answers of the real tiny model, the same without weights, {cassette.stat().st_size} bytes"
    )


def offline(mode: str, cassette: Path, size: int) -> list[dict[str, Any]]:
    """The answers of examples/vllm-mock/offline.py."""
    command: list[str | Path] = [
        PYTHON,
        EXAMPLE / "offline.py",
        mode,
        "--tensor-parallel-size",
        str(size),
        "--cassette",
        cassette,
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert ran.returncode == 0, ran.stderr[-4000:]
    return [json.loads(line) for line in ran.stdout.splitlines() if line.startswith('{"prompt"')]


@pytest.mark.long
@pytest.mark.parametrize("captured_with", [1, 2])
def test_offline_with_tensor_parallel_size_two(captured_with: int, tmp_path: Path) -> None:
    """Random, capture and replay of the example; two workers of the real model capture as one does."""
    install_beside()
    cassette = tmp_path / "offline.cassette"
    captured = offline("capture", cassette, captured_with)
    assert len(captured) == 5
    assert offline("replay", cassette, 2) == captured
    made_up = offline("random", cassette, 2)
    assert [answer["prompt"] for answer in made_up] == [answer["prompt"] for answer in captured]
    assert [answer["token_ids"] for answer in made_up] != [answer["token_ids"] for answer in captured]
    assert {len(answer["token_ids"]) for answer in made_up} == {16}
