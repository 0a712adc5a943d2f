"""The openai and anthropic SDKs see no difference between vLLM through the recorder and the replayer without vLLM."""

from __future__ import annotations

from typing import Any

import pytest

from tests.live import sdk
from tests.live.conftest import Spoken
from tests.live.server import RealVllm
from tests.processes import replaying

CALLS = [
    *(f"openai {name}" for name in sdk.OPENAI),
    *(f"anthropic {name}" for name in sdk.ANTHROPIC),
    "openai, many at once",
]


@pytest.fixture(scope="session")
def again(spoken: Spoken, after_vllm: RealVllm) -> dict[str, Any]:
    """The same calls to a replayer that was told of no upstream."""
    with replaying(spoken.cassette) as proxy:
        objects = sdk.objects(proxy.url)
    assert proxy.code == 0, proxy.said
    return objects


@pytest.mark.parametrize("call", CALLS)
def test_the_sdk_makes_equal_objects(call: str, spoken: Spoken, again: dict[str, Any]) -> None:
    """`model_dump()` of everything that a call gave is equal, streamed or not, errors included."""
    assert spoken.objects[call], "the call gave nothing"
    assert again[call] == spoken.objects[call]
