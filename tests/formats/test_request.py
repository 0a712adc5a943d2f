"""What the body of a request says, in each dialect and where it says nothing."""

from __future__ import annotations

from typing import Any

import pytest

from replayproxy.formats.request import (
    generates,
    last_prompt,
    messages_of,
    prompt_ids,
    rendered_prompt,
    text_of_content,
    token_ids,
)

PARTS = [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}]


@pytest.mark.parametrize(
    ("body", "prompt"),
    [
        ({"messages": [{"role": "user", "content": "first"}, {"role": "assistant", "content": "x"}]}, "first"),
        ({"messages": [{"role": "user", "content": PARTS}]}, "a\nb"),
        ({"prompt": "text"}, "text"),
        ({"prompt": ["text", "more"]}, "text"),
        ({"prompt": [1, 2]}, None),
        ({"input": "text"}, "text"),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "t"}]}]}, "t"),
        ({"messages": "none"}, None),
        ({}, None),
    ],
)
def test_the_last_prompt(body: dict[str, Any], prompt: str | None) -> None:
    """Of a chat, a completion, a response."""
    assert last_prompt(body) == prompt


def test_the_system_prompt_comes_first() -> None:
    """Anthropic's and that of `/responses` stand beside the messages."""
    for name in ("system", "instructions"):
        found = messages_of({name: "be kind", "messages": [{"role": "user", "content": "a"}]})
        assert [message["role"] for message in found] == ["system", "user"]


def test_equal_beginnings_are_rendered_equally() -> None:
    """Prefix hashes of texts stand on it."""
    first = {"messages": [{"role": "user", "content": "a"}]}
    second = {"messages": [*first["messages"], {"role": "assistant", "content": "b"}]}
    assert rendered_prompt(second).startswith(rendered_prompt(first))
    assert rendered_prompt({"prompt": "abc"}) == "abc"


@pytest.mark.parametrize(
    ("value", "ids"), [([1, 2], [1, 2]), ([], None), ([1, "a"], None), ([-1], None), ([True], None), ("12", None)]
)
def test_token_ids_are_whole_numbers(value: object, ids: list[int] | None) -> None:
    """Anything else is not a list of them."""
    assert token_ids(value) == ids
    assert prompt_ids({"prompt": value}) == ids


def test_which_endpoints_generate() -> None:
    """By the end of the path, wherever a proxy mounts it."""
    assert generates("POST", "/v1/chat/completions")
    assert generates("POST", "/x/v1/messages/")
    assert not generates("GET", "/v1/responses")
    assert not generates("POST", "/v1/embeddings")


def test_content_without_text_is_empty() -> None:
    """No part of a message needs to be text."""
    assert text_of_content(None) == text_of_content([{"type": "image_url"}]) == ""
