"""Code that talks to an LLM through LangChain: a chain that tells stories, and an agent's step with a tool."""

from __future__ import annotations

from typing import Literal

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


def story(model: ChatOpenAI) -> Runnable[dict[str, str], str]:
    """A chain: a thing, a prompt, the model, its words."""
    prompt = ChatPromptTemplate.from_messages([("system", "You tell short stories."), ("user", "Tell me of {thing}.")])
    return prompt | model.bind(max_tokens=24) | StrOutputParser()


@tool
def get_weather(city: Literal["Paris", "Rome"]) -> str:
    """The weather in a city."""
    return f"It rains in {city}."


def advise(model: ChatOpenAI, question: str) -> list[BaseMessage]:
    """Look at the weather, then let the model speak of it. Gives all that was said."""
    messages: list[BaseMessage] = [HumanMessage(question)]
    called = model.bind_tools([get_weather], tool_choice="get_weather", strict=True).invoke(messages)
    messages += [called, *(get_weather.invoke(call) for call in called.tool_calls)]
    return [*messages, model.invoke(messages)]
