"""What the simulator is compared with is what a real vLLM answers: tests/simulator/vllm-0.32.json is true."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from tests.live.server import EXAMPLE, RealVllm
from tests.simulator.reference import BEGINNINGS, FILE, PLAIN, THINKING, ask, kept

REFERENCE = orjson.loads(FILE.read_bytes())


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealVllm]:
    """One that counts cached tokens."""
    log = tmp_path_factory.mktemp("plain") / "log"
    server = RealVllm.start(EXAMPLE / "serve", log, ("--enable-prompt-tokens-details",))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def thinking(plain: RealVllm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealVllm]:
    """One whose model thinks; it starts when the other one has answered everything."""
    log = tmp_path_factory.mktemp("thinking") / "log"
    server = RealVllm.start(EXAMPLE / "serve", log, ("--reasoning-parser", "qwen3"))
    yield server
    server.stop()


@pytest.mark.parametrize("name", PLAIN)
def test_vllm_answers_as_the_file_says(name: str, plain: RealVllm) -> None:
    """Field by field; ids, times and texts aside."""
    assert kept(*ask(plain.url, PLAIN[name])) == REFERENCE["plain"][name]


@pytest.mark.parametrize("name", BEGINNINGS)
def test_vllm_begins_tool_calls_as_the_file_says(name: str, plain: RealVllm) -> None:
    """The rest depends on what the model says."""
    assert kept(*ask(plain.url, BEGINNINGS[name]))["forms"][:3] == REFERENCE["plain"][name]["forms"][:3]


@pytest.mark.parametrize("name", THINKING)
def test_vllm_thinks_as_the_file_says(name: str, thinking: RealVllm) -> None:
    """Field by field."""
    assert kept(*ask(thinking.url, THINKING[name])) == REFERENCE["thinking"][name]
