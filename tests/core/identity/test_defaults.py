"""Fields that say only what holds without them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.model import Request

PLAIN = Matcher(MatchRules()).key
LENIENT = Matcher(MatchRules(defaults=True)).key

# What vllm-router 0.1.17 was seen to add (November 2026).
ROUTERS = {
    "/v1/chat/completions": {
        "stream": False, "logprobs": False, "no_stop_trim": False, "ignore_eos": False, "continue_final_message": False,
        "skip_special_tokens": True, "separate_reasoning": True, "stream_reasoning": True,
        "return_hidden_states": False, "include_reasoning": True,
    },
    "/v1/completions": {
        "stream": False, "echo": False, "no_stop_trim": False, "ignore_eos": False, "skip_special_tokens": True,
        "return_hidden_states": False,
    },
}  # fmt: skip


def asked(path: str, **fields: Any) -> Request:
    """A request with these fields."""
    return Request("POST", path, (), orjson.dumps({"model": "tiny", **fields}))


@pytest.mark.parametrize("path", sorted(ROUTERS))
def test_what_a_router_adds_changes_nothing(path: str) -> None:
    """Its request is the client's, where the rules say so, and another one where they do not."""
    assert LENIENT(asked(path, **ROUTERS[path])) == LENIENT(asked(path))
    assert PLAIN(asked(path, **ROUTERS[path])) != PLAIN(asked(path))


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/chat/completions", {"n": 1.0, "top_logprobs": 0, "tools": [], "stop": None, "temperature": None}),
        ("/t/scope/v1/chat/completions/", {"presence_penalty": 0, "response_format": {"type": "text"}}),
        ("/v1/completions", {"best_of": 1, "add_special_tokens": True, "logprobs": None}),
        ("/v1/responses", {"text": {"format": {"type": "text"}}, "truncation": "disabled", "tool_choice": "auto"}),
        ("/v1/messages", {"stream": False, "stop_sequences": [], "thinking": {"type": "disabled"}}),
        ("/generate", {"return_logprob": False, "logprob_start_len": -1, "sampling_params": {}}),
    ],
)
def test_documented_defaults_of_each_dialect(path: str, fields: dict[str, Any]) -> None:
    """All at once, in any spelling of a number."""
    assert LENIENT(asked(path, **fields)) == LENIENT(asked(path))


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/chat/completions", {"stream": True}),
        ("/v1/chat/completions", {"logprobs": True}),
        ("/v1/chat/completions", {"temperature": 1}),
        ("/v1/chat/completions", {"skip_special_tokens": False}),
        ("/v1/chat/completions", {"n": True}),
        ("/v1/chat/completions", {"n": "1"}),
        ("/v1/chat/completions", {"echo": None}),
        ("/v1/completions", {"logprobs": 0}),
        ("/v1/completions", {"separate_reasoning": True}),
        ("/v1/embeddings", {"stream": False}),
    ],
)
def test_what_is_no_default_still_counts(path: str, fields: dict[str, Any]) -> None:
    """Another value, another type, another endpoint, and what vLLM takes from the model's own configuration."""
    assert LENIENT(asked(path, **fields)) != LENIENT(asked(path))


def test_only_the_outermost_object_has_defaults() -> None:
    """A tool's schema may have a field of such a name."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"stream": False}}}
    without = {"type": "function", "function": {"name": "f", "parameters": {}}}
    path = "/v1/chat/completions"
    assert LENIENT(asked(path, tools=[tool])) != LENIENT(asked(path, tools=[without]))


def test_the_rule_stands_on_the_cassette() -> None:
    """It goes there and back; what is no rule is refused."""
    rules = MatchRules(defaults=True)
    assert MatchRules.of(rules.document()) == rules
    assert "--match-defaults" in str(rules)
    assert MatchRules.of(MatchRules().document()) == MatchRules()
    with pytest.raises(ValueError, match="no match rules"):
        MatchRules.of(rules.document() | {"defaults": "yes"})
