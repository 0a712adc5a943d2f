"""An agent that calls a tool in each of twelve turns, then sums up: what it sent and heard, as plain data.

    turn:  messages ──▶ a call of this turn's tool ──▶ messages + call + result     every third answer in one piece

The tools' results depend on the turn and on the arguments, and every request holds the ids of all calls before it. The
model is made of random numbers: an answer without a whole call is asked for again, with an equal request. `agent.mjs`
is the same agent under Node, with the openai package from npm.
"""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai

from tests.live.registries import node_modules
from tests.processes import recording

TURNS = 12
ATTEMPTS = 20
"""Of ten named calls about nine are whole within 256 tokens; the others are filled with blanks."""

Transcript = dict[str, Any]
"""`messages`, as sent with the last request and answered; `answers`, each a list of chunks, or one whole."""


def tool(name: str, argument: str, *values: str) -> dict[str, Any]:
    """A function of one argument that has few values."""
    properties = {argument: {"type": "string", "enum": values}}
    parameters = {"type": "object", "properties": properties, "required": [argument], "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "strict": True, "parameters": parameters}}


TOOLS: Any = [tool("get_weather", "city", "Paris", "Rome"), tool("go", "direction", "north", "south", "east")]


def result(turn: int, arguments: dict[str, str]) -> str:
    """What a tool finds."""
    (value,) = arguments.values()
    return f"Turn {turn}: {value}, {10 + turn * len(value)} degrees."


def run_agent(url: str, *, own_ids: bool = False) -> Transcript:
    """Thirteen answers from the server at `url`. With `own_ids` each call gets a new id, as some frameworks do it."""
    messages: list[Any] = [{"role": "user", "content": "Travel, and tell me of the weather."}]
    answers: list[Any] = []
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        for turn in range(TURNS):
            said = _call(client, messages, turn, answers)
            (call,) = said["tool_calls"]
            if own_ids:
                call["id"] = f"call_{secrets.token_hex(12)}"
            found = result(turn, json.loads(call["function"]["arguments"]))
            messages += [said, {"role": "tool", "tool_call_id": call["id"], "content": found}]
        messages.append(_asked(client, messages, answers, streamed=True, tool_choice="none", max_tokens=48))
    return {"messages": messages, "answers": answers}


def _call(client: openai.OpenAI, messages: list[Any], turn: int, answers: list[Any]) -> dict[str, Any]:
    """A message with a whole call."""
    named = {"type": "function", "function": {"name": TOOLS[turn % 2]["function"]["name"]}}
    for _ in range(ATTEMPTS):
        said = _asked(client, messages, answers, streamed=turn % 3 != 2, tool_choice=named, max_tokens=256)
        try:
            json.loads(said["tool_calls"][0]["function"]["arguments"])
        except (LookupError, ValueError):
            continue
        return said
    raise AssertionError(f"no whole call in {ATTEMPTS} answers")


def _asked(
    client: openai.OpenAI, messages: list[Any], answers: list[Any], *, streamed: bool, **more: Any
) -> dict[str, Any]:
    """One answer as a message; what it came as is noted in `answers`."""
    made: Any = client.chat.completions.create(model="tiny", messages=messages, tools=TOOLS, stream=streamed, **more)
    if not streamed:
        answers.append(made.model_dump(warnings=False))
        return _message(answers[-1]["choices"][0]["message"])
    answers.append([chunk.model_dump(warnings=False) for chunk in made])
    return _message(_joined(answers[-1]))


def _message(said: dict[str, Any]) -> dict[str, Any]:
    """What of an answer goes into the next request."""
    calls = [
        {
            "id": call["id"],
            "type": "function",
            "function": {key: call["function"][key] for key in ("name", "arguments")},
        }
        for call in said.get("tool_calls") or []
    ]
    message = {"role": "assistant", "content": said["content"]}
    return {**message, "tool_calls": calls} if calls else message


def _joined(chunks: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """A stream's deltas as one message."""
    content = ""
    calls: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            content += choice["delta"]["content"] or ""
            for part in choice["delta"]["tool_calls"] or []:
                call = calls.setdefault(part["index"], {"id": part["id"], "function": {"name": "", "arguments": ""}})
                for key in ("name", "arguments"):
                    call["function"][key] += part["function"][key] or ""
    return {"content": content, "tool_calls": list(calls.values())}


# Under Node

SCRIPT = Path(__file__).with_name("agent.mjs")
PATIENCE = 600.0
"""Seconds for Node's thirteen answers: on two quiet cores eight."""


def run_node_agent(url: str, folder: Path) -> Transcript:
    """The same, in a folder where it finds its packages. Skips where there is no Node."""
    (folder / "node_modules").symlink_to(node_modules())
    script = folder / SCRIPT.name
    script.write_bytes(SCRIPT.read_bytes())
    ran = subprocess.run(["node", script, url], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ran.returncode == 0, ran.stderr
    transcript: Transcript = json.loads(ran.stdout)
    return transcript


AGENTS: dict[str, Callable[[str, Path], Transcript]] = {
    "python": lambda url, folder: run_agent(url),
    "node": run_node_agent,
}


@dataclass(frozen=True, slots=True)
class Travelled:
    """A sealed cassette, and the transcript while it was recorded."""

    cassette: Path
    transcript: Transcript


def travelled(sdk: str, upstream: str, folder: Path) -> Travelled:
    """An agent's run through a recorder."""
    cassette = folder / "agent.cassette"
    with recording(cassette, upstream) as proxy:
        transcript = AGENTS[sdk](proxy.url, folder)
    assert proxy.code == 0, proxy.said
    return Travelled(cassette, transcript)
