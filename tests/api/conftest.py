"""Cassettes for the tests of the public API."""

from __future__ import annotations

from pathlib import Path

import pytest

from replayproxy.model import Request
from tests.cli.tapes import answer, asked, chat, pair, writing

GOLDEN = Path(__file__).parents[2] / "cassettes" / "format-2.cassette"


@pytest.fixture
def golden() -> Path:
    """A cassette of a real vLLM."""
    return GOLDEN


@pytest.fixture
def five(tmp_path: Path) -> Path:
    """Five exchanges, a minute apart: two chats, a refusal, a list of models, a pair."""
    path = tmp_path / "five.cassette"
    with writing(path) as keep:
        keep(
            chat("one", model="a", usage=(10, 3)),
            chat("two", model="b", usage=None, started=60_000),
            answer(asked("bad"), b'{"error":{"message":"no"}}', status=400, started=120_000),
            answer(Request("GET", "/v1/models"), b'{"data":[{"id":"a"}]}', started=180_000),
            pair(chat("pair", words=["word "] * 20, usage=(1842, 21), started=240_000)),
        )
    return path
