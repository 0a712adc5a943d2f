"""Two vLLM without a model hand over through vLLM's own scheduler and connector, with our proxy in front of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from replayproxy.cassette.reader import CassetteReader
from tests.live.conftest import Figures
from tests.live.engine_matrix import WORDS, ask_each, greedy, texts_and_counts
from tests.live.mock_engine import EXAMPLE, install_beside
from tests.live.server import RealVllm
from tests.processes import recording, running
from tests.unused_ports import unused_port

QUESTIONS = {
    str(number): greedy(f"{number}: {WORDS} {WORDS}", stream=number % 2 == 0, max_tokens=12 + number % 8)
    for number in range(20)
}


def test_a_pair_of_mock_engines_answers_as_the_recorded_server(
    vllm: RealVllm, tmp_path: Path, figures: Figures
) -> None:
    """Twenty prompts, recorded from one real server. Both legs are on the cassette; decode waits for its cache."""
    cassette, pairs = tmp_path / "single.cassette", tmp_path / "pair.cassette"
    with recording(cassette, vllm.url) as proxy:
        alone = asyncio.run(ask_each(proxy.url, QUESTIONS))
    install_beside()
    decode = unused_port()
    variables = {"REPLAYPROXY_CASSETTE": str(cassette), "REPLAYPROXY_TRANSFER_TIME": "20ms"}
    servers = RealVllm.start(EXAMPLE / "serve-pair", tmp_path / "log", (str(decode),), variables)
    try:
        second = f"http://127.0.0.1:{decode}"
        RealVllm.at(second).wait_until_healthy()
        urls = ("--prefill", servers.url, "--decode", second)
        with running("record", pairs, *urls, "--port", "0", "--admin-port", "0") as proxy:
            handed = asyncio.run(ask_each(proxy.url, QUESTIONS, at_once=4))
    finally:
        servers.stop()
    assert {answer.status for answer in handed.values()} == {200}, servers.last_words
    said = {name: texts_and_counts(answer) for name, answer in handed.items()}
    assert said == {name: texts_and_counts(answer) for name, answer in alone.items()}
    with CassetteReader(pairs) as opened:
        exchanges = [opened.exchange(row["number"]) for row in opened.rows()]
    assert [[leg.role for leg in exchange.legs] for exchange in exchanges] == [["prefill", "decode"]] * 20
    waits = [second.response.timeline.first for _, second in (exchange.legs for exchange in exchanges)]
    assert min(waits) >= 20_000_000
    figures.append(
        f"pair of mock engines: 20 answers equal, decode waits {min(waits) / 1e6:.1f} ms at least for its cache"
    )
