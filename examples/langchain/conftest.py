"""What the tests here have in common: LangChain's model, on the recording of whoever asks for it."""

from __future__ import annotations

import pytest
from langchain_openai import ChatOpenAI

from replayproxy.pytest_plugin.playback import Playback


@pytest.fixture
def model(replayproxy: Playback) -> ChatOpenAI:
    """A chat model. Nothing of LangChain is patched: it has another base URL."""
    return ChatOpenAI(model="tiny", base_url=replayproxy.base_url, api_key="none", max_tokens=256)
