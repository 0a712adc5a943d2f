"""Tests of `simulator/tokenize`: there and back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.doubles.simulation import ask


def test_a_prompt_is_tokenized_and_back() -> None:
    """With the strings, if they are wanted."""
    answer = ask("/tokenize", {"model": "tiny", "prompt": "Hello you", "return_token_strs": True}).json
    assert list(answer) == ["count", "max_model_len", "tokens", "token_strs"]
    assert (answer["count"], answer["token_strs"]) == (3, ["Hell", "o", " you"])
    back = ask("/detokenize", {"model": "tiny", "tokens": answer["tokens"]}).json
    assert back == {"prompt": "Hello you"}
    assert ask("/tokenize", {"prompt": ""}).json == {
        "count": 0, "max_model_len": 1024, "tokens": [], "token_strs": None,
    }  # fmt: skip


def test_a_conversation_has_the_tokens_of_its_prompt() -> None:
    """As many as a chat counts."""
    messages = [{"role": "user", "content": "Hello."}]
    count = ask("/tokenize", {"model": "tiny", "messages": messages}).json["count"]
    chat = ask("/v1/chat/completions", {"model": "tiny", "messages": messages}).json
    assert count == chat["usage"]["prompt_tokens"]
    shorter = ask("/tokenize", {"messages": messages, "add_generation_prompt": False}).json["count"]
    assert shorter < count


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/tokenize", {"prompt": "a", "messages": []}, "both prompt and messages fields in tokenize request"),
        ("/tokenize", {"prompt": 7}, "1 validation error:"),
        ("/tokenize", {}, "1 validation error:"),
        ("/detokenize", {"model": "tiny"}, "1 validation error:\n  {'type': 'missing', 'loc': 'body.tokens'"),
        ("/detokenize", {"tokens": "a"}, "1 validation error:"),
    ],
)
def test_what_is_refused(path: str, body: dict[str, Any], message: str) -> None:
    """With a sentence."""
    status, found = ask(path, body).error
    assert status == 400
    assert found.startswith(message)
