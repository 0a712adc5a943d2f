"""Tests of code that talks to an LLM, with the LLM's answers from `cassettes/test_story.cassette`."""

from __future__ import annotations

import os
from collections.abc import Iterator

import openai
import pytest

from replayproxy.pytest_plugin.playback import Playback


def told(client: openai.OpenAI, wish: str) -> Iterator[str]:
    """The code under test: a story, piece by piece."""
    stream = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": wish}], temperature=0, max_tokens=16, stream=True
    )
    for event in stream:
        if event.choices and event.choices[0].delta.content:
            yield event.choices[0].delta.content


def test_a_story_comes_in_pieces(client: openai.OpenAI, replayproxy: Playback) -> None:
    """As many as were recorded; and the request was what we meant it to be."""
    assert len(list(told(client, "Tell me a story."))) == 16
    (call,) = replayproxy.calls
    assert call.request.json["temperature"] == 0
    assert call.outcome in ("replay", "record")


def test_two_stories_differ(client: openai.OpenAI) -> None:
    """Each wish has its own recording."""
    assert "".join(told(client, "Tell me a story.")) != "".join(told(client, "Tell me a joke."))


@pytest.mark.replayproxy
def test_a_client_that_reads_the_environment() -> None:
    """With the marker alone, the environment points to the recording: the code under test needs no argument for it."""
    with openai.OpenAI() as client:
        assert str(client.base_url).startswith(os.environ["OPENAI_BASE_URL"])
        assert "".join(told(client, "Tell me a joke."))
