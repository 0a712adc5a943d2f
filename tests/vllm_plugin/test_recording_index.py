"""Which recording answers which request, and what a miss says."""

from __future__ import annotations

import random

import pytest

from replayproxy.vllm_plugin.recording_index import EngineMiss, EngineRequest, RecordingIndex, common_prefix
from replayproxy.vllm_plugin.token_recordings import TokenLogprob, TokenRecording

EOS = 99


def recording(
    prompt: tuple[int, ...], tokens: tuple[int, ...] = (5, EOS), finish: str = "stop", **more: object
) -> TokenRecording:
    """One that the model ended, unless said otherwise."""
    return TokenRecording(prompt, tokens, finish, **more)  # type: ignore[arg-type]  # fields by name


def request(*prompt: int, **more: object) -> EngineRequest:
    """One that may become ten tokens long."""
    return EngineRequest(prompt, **{"max_tokens": 10, "eos": EOS, **more})  # type: ignore[arg-type]  # fields by name


def taken(index: RecordingIndex, *requests: EngineRequest) -> list[str]:
    """The names of what is taken, or the words of the miss."""
    found = [index.take(one) for one in requests]
    return [one.message if isinstance(one, EngineMiss) else one.name for one in found]


TWO = [recording((1, 2), name="a"), recording((3,), name="other"), recording((1, 2), name="b")]


@pytest.mark.parametrize(("at_end", "names"), [("cycle", ["a", "b", "a", "b"]), ("last", ["a", "b", "b", "b"])])
def test_the_nth_equal_prompt_takes_the_nth_recording(at_end: str, names: list[str]) -> None:
    """And other prompts do not count."""
    index = RecordingIndex(TWO, at_end=at_end)
    assert (len(index), index.prompts, index.approximate) == (3, 2, 0)
    assert taken(index, request(1, 2), request(3), *[request(1, 2)] * 3) == [names[0], "other", *names[1:]]


def test_after_the_last_recording_there_is_a_miss_if_so_said() -> None:
    """With the setting that changes it."""
    *_, said = taken(RecordingIndex(TWO, at_end="refuse"), *[request(1, 2)] * 3)
    assert said.startswith("all 2 recordings of this prompt have been given")
    assert "REPLAYPROXY_AT_END=cycle" in said


def test_a_recording_that_can_serve_the_request_is_preferred() -> None:
    """One with logprobs for who asks for them, one that is long enough, one that ends at the same stop."""
    index = RecordingIndex(
        [
            recording((1,), (5, 6), "length", name="short"),
            recording((1,), (5, 6, 7), "stop", stop_reason="x", name="stopped"),
            recording((1,), (5, EOS), name="logprobs", logprobs=((TokenLogprob(5, -1.0),) * 3,) * 2),
            recording((1,), (5, 6, 7, 8), "length", name="long"),
        ]
    )
    assert taken(index, request(1, max_tokens=2)) == ["short"]
    assert taken(index, request(1, max_tokens=4, logprobs=2)) == ["logprobs"]
    assert taken(index, request(1, max_tokens=9, stop=frozenset({"x"}))) == ["stopped"]
    assert taken(index, request(1, max_tokens=4)) == ["long"]


def test_equal_parameters_are_preferred_and_others_are_no_miss() -> None:
    """A greedy request does not take what was recorded with a seed, however often it comes."""
    index = RecordingIndex(
        [
            recording((1,), name="seeded", sampling=(("seed", 3), ("temperature", 1.0))),
            recording((1,), name="greedy", sampling=(("temperature", 0.0),)),
        ]
    )
    greedy = request(1, sampling=(("temperature", 0.0), ("top_p", 1.0)))
    seeded = request(1, sampling=(("seed", 3), ("temperature", 1.0)))
    assert taken(index, greedy, greedy, seeded, request(1, sampling=(("temperature", 0.5),))) == [
        *("greedy", "greedy", "seeded", "greedy")
    ]


@pytest.mark.parametrize(
    ("of", "asked", "why"),
    [
        (recording((1,), (5, 6), "length"), request(1), "ends after 2 tokens (length), and this request wants 10"),
        (recording((1,), (5, 6), "length"), request(1, max_tokens=None), "wants as many as fit"),
        (
            recording((1,), (5,), "stop", stop_reason="x"),
            request(1),
            "at the stop 'x', which this request does not have",
        ),
        (recording((1,)), request(1, eos=None), "ends after 2 tokens (stop)"),
        (recording((1,)), request(1, logprobs=1), "it has no logprobs"),
        (
            recording((1,), logprobs=((TokenLogprob(5, -1.0),),) * 2),
            request(1, logprobs=5),
            "fewer than 5 logprobs per token",
        ),
    ],
)
def test_an_answer_that_would_end_otherwise_is_not_given(of: TokenRecording, asked: EngineRequest, why: str) -> None:
    """A made-up end is somebody else's answer: the miss says what the recording lacks."""
    (said,) = taken(RecordingIndex([of]), asked)
    assert said.startswith("this prompt is recorded (")
    assert why in said
    assert "Record it again" in said


def test_made_up_logprobs_make_any_recording_fit() -> None:
    """MOCK_COMPUTE_LOGITS."""
    assert taken(RecordingIndex([recording((1,), name="a")], synthetic_logprobs=True), request(1, logprobs=5)) == ["a"]


def test_a_miss_names_the_nearest_prompt_and_the_first_token_that_differs() -> None:
    """With its text, so that a changed chat template is seen at once."""
    index = RecordingIndex(
        [recording((1, 2, 3, 4), name="0a1b"), recording((9, 9, 9), name="ffff")], decode=lambda token: f"<{token}>"
    )
    (said,) = taken(index, request(1, 2, 7, 4))
    assert said.startswith(
        "no recording has this prompt of 4 tokens; the nearest one (exchange 0a1b) has 4 tokens and differs from token"
        " 3 on: 3 '<3>' there, 7 '<7>' here."
    )
    (said,) = taken(index, request(1, 2))
    assert "differs from token 3 on: 3 '<3>' there, its end here" in said


def test_another_adapter_and_other_media_are_other_prompts() -> None:
    """The miss says so instead of naming a token."""
    index = RecordingIndex([recording((1,), name="a", lora="one"), recording((2,), name="b", media=("h",))])
    assert taken(index, request(1, lora="one"), request(2, media=("h",))) == ["a", "b"]
    assert "for the base model: it is recorded for the LoRA adapter 'one'" in taken(index, request(1))[0]
    assert "with 1. Answers recorded over HTTP do not say" in taken(index, request(2, media=("x", "y")))[0]


def test_nothing_recorded_is_a_miss_too() -> None:
    """Without a nearest one."""
    assert taken(RecordingIndex([]), request(1)) == [
        "no recording has this prompt of 1 tokens: there is no recording at all"
    ]


def test_the_nearest_prompt_shares_the_longest_beginning() -> None:
    """As a search through all of them finds it; a longer common end may outweigh it."""
    chance = random.Random(3)
    prompts = {tuple(chance.choices(range(3), k=chance.randrange(1, 9))) for _ in range(200)}
    index = RecordingIndex([recording(prompt) for prompt in prompts])
    for _ in range(200):
        asked = tuple(chance.choices(range(3), k=chance.randrange(1, 9)))
        nearest = index.nearest(asked)
        assert nearest is not None
        longest = max(common_prefix(asked, prompt) for prompt in prompts)
        alike = common_prefix(asked, nearest) + common_prefix(asked[::-1], nearest[::-1])
        assert alike >= longest


def test_a_changed_system_prompt_still_finds_its_chat() -> None:
    """Its beginning differs at once, its end is the same."""
    index = RecordingIndex([recording((1, *range(10, 30))), recording((2, 3, 4))])
    assert index.nearest((2, *range(10, 30))) == (1, *range(10, 30))
