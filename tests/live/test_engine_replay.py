"""vLLM without a model gives what vLLM with one gave: eight prompts in each way, in every way of scheduling them."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from tests.live.conftest import Figures
from tests.live.engine_matrix import PROMPTS, QUESTIONS, WAYS, ask_each, content, greedy, texts_and_counts
from tests.live.matrix import chat
from tests.live.mock_engine import PYTHON, metric, mock_engine
from tests.live.server import RealVllm
from tests.processes import recording
from tests.unused_ports import unused_port
from tests.wire import Answer

TRIES = 5
"""How often a stream is asked for: on a busy machine vLLM puts tokens that come close together into one event."""

HITS, QUERIES, PREEMPTIONS = (
    f"vllm:{name}_total" for name in ("prefix_cache_hits", "prefix_cache_queries", "num_preemptions")
)


@dataclass(frozen=True)
class Run:
    """What a vLLM with its model answered, on a cassette, and how its prefix cache was used."""

    cassette: Path
    answers: dict[str, Answer]
    hits: float
    queries: float


@pytest.fixture(scope="module")
def recorded(vllm: RealVllm, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All questions one after the other, through a recorder."""
    cassette = tmp_path_factory.mktemp("engine") / "engine.cassette"
    before = [metric(vllm.url, name) for name in (HITS, QUERIES)]
    with recording(cassette, vllm.url) as proxy:
        answers = asyncio.run(ask_each(proxy.url, QUESTIONS))
    assert {answer.status for answer in answers.values()} == {200}
    hits, queries = (metric(vllm.url, name) - was for name, was in zip((HITS, QUERIES), before, strict=True))
    return Run(cassette, answers, hits, queries)


@pytest.fixture(scope="module")
def replayed(recorded: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RealVllm, Run]]:
    """The same questions of a vLLM without weights, which goes on running; in steps long enough for an event each."""
    log = tmp_path_factory.mktemp("mock") / "log"
    variables = {"REPLAYPROXY_CASSETTE": str(recorded.cassette), "FORWARD_TIME": "10"}
    with mock_engine(log, variables) as engine:
        answers = asyncio.run(ask_each(engine.url, QUESTIONS))
        hits, queries = metric(engine.url, HITS), metric(engine.url, QUERIES)
        yield engine, Run(recorded.cassette, answers, hits, queries)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", range(len(PROMPTS)))
def test_an_answer_is_the_recorded_one(recorded: Run, replayed: tuple[RealVllm, Run], way: str, number: int) -> None:
    """Text, token ids, logprobs, finish reason, usage; of a stream also the number of events and what is in each."""
    name = f"{way} {number}"
    engine, run = replayed
    first, again = recorded.answers[name], run.answers[name]
    assert texts_and_counts(again) == texts_and_counts(first)
    for _ in range(TRIES):
        if content(again) == content(first):
            break
        again = asyncio.run(ask_each(engine.url, {name: QUESTIONS[name]}))[name]
    assert content(again) == content(first)


def test_the_prefix_cache_is_used_as_by_the_real_engine(recorded: Run, replayed: tuple[RealVllm, Run]) -> None:
    """vLLM's own counters, question by question the same blocks."""
    _, run = replayed
    assert (run.hits, run.queries) == (recorded.hits, recorded.queries)
    assert run.hits > 0


def test_a_miss_is_an_error_of_one_request(recorded: Run, replayed: tuple[RealVllm, Run]) -> None:
    """It names the nearest prompt and the token that differs; a request beside it is answered, and one after it."""
    engine, _ = replayed
    unknown = PROMPTS[0].replace("river", "lake")
    asked = {"miss": greedy(unknown), "hit": QUESTIONS["unary 0"], "stream": greedy(unknown, stream=True)}
    answers = asyncio.run(ask_each(engine.url, asked, at_once=3))
    error = orjson.loads(answers["miss"].body)["error"]
    assert (answers["miss"].status, error["code"]) == (404, 404)
    assert "the nearest one (exchange " in error["message"]
    assert " there, " in error["message"]
    assert b"the nearest one (exchange " in answers["stream"].body
    assert content(answers["hit"]) == content(recorded.answers["unary 0"])
    assert "a miss: no recording has this prompt" in engine.words


def test_a_longer_answer_than_was_recorded_is_a_miss(recorded: Run, replayed: tuple[RealVllm, Run]) -> None:
    """No end is made up."""
    engine, _ = replayed
    (answer,) = asyncio.run(ask_each(engine.url, {"": greedy(PROMPTS[0], max_tokens=200)})).values()
    assert (answer.status, b"Record it again" in answer.body) == (404, True)


@pytest.mark.long
def test_prompts_in_chunks_of_sixteen_tokens(recorded: Run, tmp_path: Path) -> None:
    """The same answers; each prompt takes several steps."""
    variables = {"REPLAYPROXY_CASSETTE": str(recorded.cassette)}
    with mock_engine(
        tmp_path / "log", variables, "--max-num-batched-tokens", "16", "--no-enable-prefix-caching"
    ) as engine:
        answers = asyncio.run(ask_each(engine.url, QUESTIONS))
        steps = metric(engine.url, "vllm:iteration_tokens_total_count")
        tokens = metric(engine.url, "vllm:prompt_tokens_total")
    assert {name: texts_and_counts(answer, usage=False) for name, answer in answers.items()} == {
        name: texts_and_counts(answer, usage=False) for name, answer in recorded.answers.items()
    }
    assert tokens / 16 < steps


@pytest.mark.long
def test_texts_are_enough_where_there_are_no_ids(vllm: RealVllm, tmp_path: Path) -> None:
    """Recorded as any client asks, and tokenized again: the same texts, which end at the same stop."""
    asked = {
        str(number): chat(text, temperature=0, max_tokens=200, stop=["e"], stream=number % 2 == 0)
        for number, text in enumerate(PROMPTS)
    }
    cassette = tmp_path / "texts.cassette"
    with recording(cassette, vllm.url) as proxy:
        first = asyncio.run(ask_each(proxy.url, asked))
    with mock_engine(tmp_path / "log", {"REPLAYPROXY_CASSETTE": str(cassette)}) as engine:
        again = asyncio.run(ask_each(engine.url, asked))
    assert "8 of them by tokenizing their text again" in engine.words
    assert {name: texts_and_counts(answer, usage=False) for name, answer in again.items()} == {
        name: texts_and_counts(answer, usage=False) for name, answer in first.items()
    }


EVENTS = """
import msgspec, sys, zmq
from vllm.distributed.kv_events import BlockStored, KVEventBatch
socket = zmq.Context().socket(zmq.SUB)
socket.connect(sys.argv[1])
socket.subscribe(b"")
print("ready", flush=True)
stored = []
while not stored:
    _, _, payload = socket.recv_multipart()
    batch = msgspec.msgpack.decode(payload, type=KVEventBatch)
    stored = [event for event in batch.events if isinstance(event, BlockStored)]
print(len(stored[0].block_hashes), stored[0].block_size, len(stored[0].token_ids), flush=True)
"""


@pytest.mark.long
def test_a_small_cache_preempts_and_changes_no_answer(recorded: Run, tmp_path: Path, figures: Figures) -> None:
    """Sixteen at once in a cache for a few of them; KV events decode with vLLM's own structs."""
    variables = {"REPLAYPROXY_CASSETTE": str(recorded.cassette), "FORWARD_TIME": "1"}
    where = f"tcp://127.0.0.1:{unused_port()}"
    events = {"enable_kv_cache_events": True, "publisher": "zmq", "endpoint": where.replace("127.0.0.1", "*")}
    flags = ("--block-size", "16", "--max-model-len", "256", "--num-gpu-blocks-override", "30")
    with mock_engine(
        tmp_path / "log", variables, *flags, "--kv-events-config", orjson.dumps(events).decode()
    ) as engine:
        with subprocess.Popen([PYTHON, "-c", EVENTS, where], stdout=subprocess.PIPE, text=True) as listening:
            assert listening.stdout is not None
            assert listening.stdout.readline() == "ready\n"
            answers = asyncio.run(ask_each(engine.url, QUESTIONS, at_once=16))
            preemptions = metric(engine.url, PREEMPTIONS)
            blocks, size, tokens = map(int, listening.stdout.readline().split())
    assert {name: texts_and_counts(answer, usage=False) for name, answer in answers.items()} == {
        name: texts_and_counts(answer, usage=False) for name, answer in recorded.answers.items()
    }
    assert preemptions > 0
    assert (size, tokens) == (16, blocks * 16)
    figures.append(f"mock engine: {preemptions:g} preemptions in a cache of 30 blocks, {len(answers)} answers equal")
