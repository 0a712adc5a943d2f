"""vLLM's objects as values."""

from __future__ import annotations

from types import SimpleNamespace

from replayproxy.vllm_plugin.engine_requests import ScheduledRequest
from replayproxy.vllm_plugin.engine_values import allowed_tokens, engine_request, sampling_params, scheduled_requests
from replayproxy.vllm_plugin.recording_index import EngineRequest
from tests.doubles.vllm_double import new_request, step


def test_a_request_says_what_it_asks_for() -> None:
    """Its stops are strings and tokens; its adapter and its media count."""
    new = new_request(
        "a", [1, 2], stop=["x"], all_stop_token_ids={25, 7}, num_logprobs=3, max_tokens=None, seed=None, top_p=0.5
    )
    new.lora_request = SimpleNamespace(lora_name="poet")
    new.mm_features = [SimpleNamespace(mm_hash="h", identifier="i"), SimpleNamespace(mm_hash=None, identifier="j")]
    assert engine_request(new) == EngineRequest(
        (1, 2), None, frozenset({"x", 7, 25}), 3, 25, "poet", ("h", "j"), (("top_p", 0.5),)
    )


def test_what_no_recording_can_answer_says_why() -> None:
    """Embeddings have no ids; logprobs of a prompt are on no recording."""
    embedded, scored = new_request("a", [1]), new_request("b", [1], prompt_logprobs=0)
    embedded.prompt_token_ids = None
    assert "its prompt is embeddings" in (engine_request(embedded).unsupported or "")
    assert "the logprobs of its prompt" in (engine_request(scored).unsupported or "")
    assert engine_request(new_request("c", [1], prompt_logprobs=None)).unsupported is None


def test_the_requests_of_a_step_come_with_their_counts() -> None:
    """New ones first; one that was preempted may be among either."""
    output = step({"a": 4, "b": 1}, (new_request("a", [1, 2], 1, prefill=[1, 2, 5]),), {"b": (7, 3)})
    assert scheduled_requests(output) == [ScheduledRequest("a", 1, 4, 1), ScheduledRequest("b", 7, 1, 3)]


def test_a_mask_belongs_to_its_request() -> None:
    """Without grammars there is none."""
    assert allowed_tokens(None) == {}
    grammar = SimpleNamespace(structured_output_request_ids=["b", "a"], grammar_bitmask=[[1], [2]])
    assert {id: list(allowed) for id, allowed in allowed_tokens(grammar).items()} == {"b": [0], "a": [1]}


def test_parameters_that_change_words_are_kept() -> None:
    """What is not set is left to the server."""
    new = new_request("a", [1], temperature=0.0, seed=None, stop=[], stop_token_ids=[7])
    assert sampling_params(new) == {"temperature": 0.0, "stop_token_ids": [7], "max_tokens": 10}
