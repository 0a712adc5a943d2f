"""The token at a position: the same however often it is asked."""

from __future__ import annotations

from replayproxy.vllm_plugin.allowed_tokens import AllowedTokens
from replayproxy.vllm_plugin.recording_index import EngineMiss, EngineRequest
from replayproxy.vllm_plugin.token_recordings import TokenLogprob, TokenRecording
from replayproxy.vllm_plugin.token_sources import RandomTokens, RecordedTokens

ONLY_FIVE = AllowedTokens([1 << 5])
NONE = AllowedTokens([0])


def recorded(finish: str | None = "stop", **more: object) -> RecordedTokens:
    """Two tokens."""
    return RecordedTokens(TokenRecording((1,), (5, 6), finish, name="0a1b", **more), 99)  # type: ignore[arg-type]  # fields by name


def random_tokens(*prompt: int, seed: int = 0, occurrence: int = 0, lora: str | None = None) -> list[int]:
    """The first eight."""
    source = RandomTokens(EngineRequest(prompt, lora=lora), seed, occurrence, range(1000))
    found = [source.token(position) for position in range(8)]
    assert all(isinstance(token, int) for token in found)
    return [token for token in found if isinstance(token, int)]


def test_a_recording_is_read_by_position() -> None:
    """Past what the model ended itself comes the end again; a preempted request asks twice."""
    source = recorded()
    assert [source.token(position) for position in (0, 1, 0, 2, 3)] == [5, 6, 5, 99, 99]


def test_a_recording_that_was_cut_off_has_no_more_to_say() -> None:
    """Its continuation is not known: a miss, not an invented end."""
    for source in (
        recorded("length"),
        recorded(None),
        recorded("stop", stop_reason="x"),
        RecordedTokens(recorded().recording, None),
    ):
        said = source.token(2)
        assert isinstance(said, EngineMiss)
        assert said.message.startswith("exchange 0a1b ends after 2 tokens (")


def test_a_recorded_token_that_a_grammar_refuses_is_a_miss() -> None:
    """vLLM would end the request with an internal error."""
    assert recorded().token(0, ONLY_FIVE) == 5
    said = recorded().token(1, ONLY_FIVE)
    assert isinstance(said, EngineMiss)
    assert "token 2 of exchange 0a1b is 6, which the grammar of this request does not admit" in said.message


def test_times_and_logprobs_go_by_position() -> None:
    """The end that is added comes with the last token; what was not recorded is nothing."""
    own = (TokenLogprob(5, -1.0),)
    source = recorded(times=(10, 30), logprobs=(own, own))
    assert [source.due(position) for position in range(3)] == [10, 30, 30]
    assert [source.logprobs(position) for position in range(3)] == [own, own, ()]
    assert (recorded().due(1), recorded().logprobs(1)) == (0, ())


def test_random_tokens_depend_on_seed_prompt_and_occurrence_alone() -> None:
    """Not on the order in which requests come."""
    first = random_tokens(1, 2)
    assert random_tokens(1, 2) == first
    others = [
        random_tokens(1, 3),
        random_tokens(1, 2, seed=1),
        random_tokens(1, 2, occurrence=1),
        random_tokens(1, 2, lora="a"),
    ]
    assert len({tuple(tokens) for tokens in (first, *others)}) == 5


def test_random_tokens_are_the_same_at_the_same_position() -> None:
    """After a preemption the engine goes on where it was."""
    source = RandomTokens(EngineRequest((1,)), 0, 0, range(1000))
    later = source.token(5)
    assert [source.token(position) for position in range(6)] == random_tokens(1)[:6]
    assert source.token(5) == later


def test_random_tokens_obey_a_grammar_and_end_as_soon_as_it_admits() -> None:
    """Any other choice would fill a string up to max_tokens."""
    source = RandomTokens(EngineRequest((1,), eos=40), 0, 0, range(1000))
    assert source.token(0, ONLY_FIVE) == 5
    assert source.token(1, AllowedTokens([1 << 5, 1 << 8])) == 40
    assert isinstance(source.token(2, NONE), EngineMiss)
    assert (source.due(0), source.logprobs(0)) == (0, ())
