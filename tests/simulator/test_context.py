"""Tests of `simulator/context`: how much room there is, and what goes into the engine."""

from __future__ import annotations

import pytest

from replayproxy.simulator.context import CREATED, Context
from replayproxy.simulator.draws import Draws
from replayproxy.simulator.engine import QueueFull
from replayproxy.simulator.generation import GenerationRequest, TextSettings
from replayproxy.simulator.models import ModelName
from replayproxy.simulator.options import Simulation
from replayproxy.simulator.routes import ApiError, Call
from replayproxy.simulator.transfer import RemoteKv
from tests.doubles.simulation import request
from tests.doubles.virtual_clock import EPOCH, VirtualClock


def context(**options: object) -> Context:
    """Of a small model."""
    return Context(Simulation(max_model_len=10, **options), VirtualClock())  # type: ignore[arg-type]  # any option


@pytest.mark.parametrize(("prompt", "max_tokens", "room"), [(4, None, 6), (4, 6, 6), (4, 2, 2), (9, None, 1)])
def test_room(prompt: int, max_tokens: int | None, room: int) -> None:
    """What the request allows, within the context."""
    assert context().room(range(prompt), max_tokens, name="max_tokens") == room


@pytest.mark.parametrize(
    ("prompt", "max_tokens", "message"),
    [
        (4, 11, "max_tokens=11 cannot be greater than max_model_len=10."),
        (10, None, "your prompt contains at least 11 input tokens"),
        (4, 7, "you requested 7 output tokens and your prompt contains at least 4 input tokens, for a total of at"),
    ],
)
def test_what_does_not_fit_is_refused(prompt: int, max_tokens: int | None, message: str) -> None:
    """In vLLM's words."""
    with pytest.raises(ApiError) as caught:
        context().room(range(prompt), max_tokens, name="max_tokens")
    assert message in caught.value.message


def test_sequences_are_numbered_through() -> None:
    """Two prompts with two choices are four; each draws for itself."""
    generations = [GenerationRequest([number], "", 50, ignore_eos=True) for number in range(2)]
    call = Call(request("/", {}), {}, Draws(b"k", 0))
    sequences, answers = context().sequences(
        call, ModelName("lora", "lora"), generations, request_id="r", choices=2, remote=RemoteKv(decodes=True)
    )
    assert [(one.index, one.prompt, one.choices, one.adapter) for one in sequences] == [
        (0, [0], 2, "lora"), (1, [0], 2, "lora"), (2, [1], 2, "lora"), (3, [1], 2, "lora"),
    ]  # fmt: skip
    assert all(one.has_remote_prefill and one.steps == 50 for one in sequences)
    assert len({answer.text_of("text") for answer in answers}) == 4


def test_choices_have_a_limit() -> None:
    """As in vLLM."""
    assert context().choices({"n": 3}) == 3
    with pytest.raises(ApiError, match="n must be at most"):
        context().choices({"n": 20_000})


def test_what_would_fill_the_memory_is_refused_before_it_is_invented() -> None:
    """More choices than the engine ever takes, and more tokens than fit."""
    call = Call(request("/", {}), {}, Draws(b"k", 0))

    def invent(choices: int, limit: int) -> None:
        generation = GenerationRequest([1], "", limit, ignore_eos=True)
        context().sequences(call, ModelName("m"), [generation], request_id="r", choices=choices, remote=RemoteKv())

    with pytest.raises(QueueFull):
        invent(1006, 1)
    with pytest.raises(ApiError, match="may generate 3000000 tokens"):
        invent(3, 1_000_000)


def test_created_is_fixed_unless_it_is_to_be_now() -> None:
    """The same seed gives the same bytes on every day."""
    assert context().created() == CREATED
    assert context(created="now").created() == EPOCH // 1_000_000_000


def test_reasoning_is_configured_and_may_be_turned_off() -> None:
    """By the two fields that clients have for it."""
    thinking = context(text=TextSettings(reasoning_tokens=5))
    assert thinking.reasoning_tokens({}) == 5
    assert thinking.reasoning_tokens({"reasoning_effort": "none"}) == 0
    assert thinking.reasoning_tokens({"chat_template_kwargs": {"thinking": False}}) == 0
    assert context().reasoning_tokens({"reasoning_effort": "high"}) == 0
