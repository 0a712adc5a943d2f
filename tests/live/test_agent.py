"""An agent of twelve turns with tool calls, under the openai SDK of Python and of Node, replayed without vLLM.

Each request holds the ids that the model gave its calls, and those are new in every run against vLLM. A replay finds
each turn although nothing is normalised, for the replayed ids are the recorded ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest

from tests.live.agent import AGENTS, TURNS, Transcript, Travelled, run_agent
from tests.live.registries import node_modules
from tests.live.server import RealVllm
from tests.processes import replaying

EACH_ONCE = ("--at-end", "refuse", "--fail-unused")
IDS = ("--match-normalise", "tool-call-id")


def calls(transcript: Transcript) -> list[Any]:
    """The tool calls that were answered, in order."""
    return [call for message in transcript["messages"] for call in message.get("tool_calls", ())]


@pytest.fixture(params=AGENTS)
def sdk(request: pytest.FixtureRequest, travels: dict[str, Travelled], after_vllm: RealVllm) -> str:
    """Whose agent. Where there is no Node there is one."""
    if request.param not in travels:
        node_modules()  # skips, and says why
    return str(request.param)


def test_a_replayed_agent_has_an_equal_transcript(sdk: str, travels: dict[str, Travelled], tmp_path: Path) -> None:
    """Every message, every call with its id and arguments, every chunk of every stream, and the answers that had to be
    asked for twice; each recording is asked for."""
    recorded = travels[sdk]
    with replaying(recorded.cassette, *EACH_ONCE) as proxy:
        replayed = AGENTS[sdk](proxy.url, tmp_path)
    assert proxy.code == 0, proxy.said
    assert replayed == recorded.transcript


def test_the_agent_did_what_it_should(sdk: str, travels: dict[str, Travelled]) -> None:
    """Twelve calls of both tools in turn, each with an id of its own, answered by a result; and last a text."""
    transcript = travels[sdk].transcript
    made = calls(transcript)
    assert [call["function"]["name"] for call in made] == ["get_weather", "go"] * (TURNS // 2)
    assert len({call["id"] for call in made}) == TURNS
    messages = transcript["messages"]
    assert [message["role"] for message in messages] == ["user", *["assistant", "tool"] * TURNS, "assistant"]
    assert [message["tool_call_id"] for message in messages[2::2]] == [call["id"] for call in made]
    assert len({message["content"] for message in messages[2::2]}) == TURNS
    assert messages[-1]["content"]
    assert {type(answer) for answer in transcript["answers"]} == {list, dict}, "streamed and whole"


def test_the_rule_for_ids_changes_nothing_where_ids_are_kept(
    travels: dict[str, Travelled], after_vllm: RealVllm
) -> None:
    """With `--match-normalise tool-call-id` every turn is still found, each once."""
    recorded = travels["python"]
    with replaying(recorded.cassette, *EACH_ONCE, *IDS) as proxy:
        replayed = run_agent(proxy.url)
    assert proxy.code == 0, proxy.said
    assert replayed == recorded.transcript


def test_an_agent_that_makes_ids_of_its_own_needs_the_rule(travels: dict[str, Travelled], after_vllm: RealVllm) -> None:
    """Without it the second turn is a miss that names the rule; with it all answers are the recorded ones."""
    recorded = travels["python"]
    with replaying(recorded.cassette, *EACH_ONCE[:2]) as proxy, pytest.raises(openai.NotFoundError):
        run_agent(proxy.url, own_ids=True)
    assert proxy.code == 3
    assert " ".join(IDS) in proxy.said

    with replaying(recorded.cassette, *EACH_ONCE, *IDS) as proxy:
        replayed = run_agent(proxy.url, own_ids=True)
    assert proxy.code == 0, proxy.said
    assert replayed["answers"] == recorded.transcript["answers"]
