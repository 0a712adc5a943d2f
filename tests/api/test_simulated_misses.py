"""`on_miss="simulate"`: what no recording answers is invented, for any model, and counted as that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai

from replayproxy import replay

CASSETTE = Path(__file__).parents[2] / "cassettes" / "format-2.cassette"
RECORDED: Any = [{"role": "user", "content": "Hello."}]
NEW: Any = [{"role": "user", "content": "Nobody has asked this."}]


def test_a_miss_is_simulated_and_a_hit_is_not() -> None:
    """The recording keeps its bytes; the miss gets an answer of the model that it names, and is no miss of the run."""
    with replay(CASSETTE, on_miss="simulate") as proxy:
        client = openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="x", max_retries=0)
        hit = client.chat.completions.create(model="tiny", messages=RECORDED, max_tokens=24, temperature=0)
        invented = client.chat.completions.create(model="any/model", messages=NEW, max_tokens=24)
        assert [call.outcome for call in proxy.calls] == ["replay", "simulate"]
    assert hit.system_fingerprint == "vllm-0.32.0-4b5cec0b"
    assert (invented.system_fingerprint, invented.model) == ("vllm-0.32.0-simulated", "any/model")
    assert invented.choices[0].message.content


def test_the_same_miss_gets_the_same_answer_in_the_next_run() -> None:
    """It follows from the seed and the request."""
    texts = []
    for seed in (1, 1, 2):
        with replay(CASSETTE, on_miss="simulate", seed=seed) as proxy:
            client = openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="x", max_retries=0)
            answer = client.chat.completions.create(model="m", messages=NEW, max_tokens=200)
            texts.append((answer.id, answer.choices[0].message.content))
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]
