"""What the tests here have in common: the SDK's client, on the recording of whoever asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from replayproxy.pytest_plugin.playback import Playback


@pytest.fixture
def client(replayproxy: Playback) -> Iterator[openai.OpenAI]:
    """An OpenAI client. A miss is not worth a second try: the proxy says so, and the SDK obeys."""
    with openai.OpenAI(base_url=replayproxy.base_url, api_key="none") as client:
        yield client
