"""Tests of code that uses LangChain, with the LLM's answers from `cassettes/test_weather.cassette`."""

from __future__ import annotations

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from weather import advise, story

from replayproxy.pytest_plugin.playback import Playback


def test_a_chain_tells_a_story(model: ChatOpenAI, replayproxy: Playback) -> None:
    """And the prompt was what the template makes of its argument."""
    assert story(model).invoke({"thing": "the sea"})
    (call,) = replayproxy.calls
    assert call.request.json["messages"][-1] == {"role": "user", "content": "Tell me of the sea."}


def test_a_story_streams_through_the_chain(model: ChatOpenAI) -> None:
    """Piece by piece, as many as were recorded."""
    assert len([piece for piece in story(model).stream({"thing": "the stars"}) if piece]) > 10


def test_the_model_calls_the_tool_and_gets_its_result(model: ChatOpenAI) -> None:
    """By an id that the model made; the second request has it in it."""
    asked, called, told, said = advise(model, "Shall I take an umbrella?")
    assert isinstance(asked, HumanMessage)
    assert isinstance(called, AIMessage)
    assert isinstance(told, ToolMessage)
    (call,) = called.tool_calls
    assert told.tool_call_id == call["id"]
    assert told.content == f"It rains in {call['args']['city']}."
    assert said.content
