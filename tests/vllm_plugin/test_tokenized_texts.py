"""Answers without token ids, tokenized again."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from replayproxy.core.dialects.sse import encode
from replayproxy.model import Exchange
from replayproxy.vllm_plugin.tokenized_texts import tokenized
from tests.recordings import CHAT, JSON, asked, exchange, said

COMPLETIONS = "/v1/completions"


class Letters:
    """A token per character, 1 in front of a text of its own; a chat is its roles and texts."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Code points."""
        return [1] * add_special_tokens + [ord(letter) for letter in text]

    def apply_chat_template(self, messages: list[dict[str, Any]], *, tools: Any, tokenize: bool, **more: Any) -> str:
        """Refuses a chat without a user, as many templates do."""
        if all(message["role"] != "user" for message in messages):
            raise ValueError("no user")
        chat = "".join(f"{message['role'][0]}{message['content']}" for message in messages)
        return f"{'t' if tools else ''}{chat}{'>' if more['add_generation_prompt'] else ''}{more.get('mood', '')}"


def ids(text: str) -> tuple[int, ...]:
    """What the tokens of a text are."""
    return tuple(map(ord, text))


def answered(*choices: dict[str, Any], path: str = CHAT, status: int = 200, **request: Any) -> Exchange:
    """An answer at once."""
    return exchange(
        asked("hi", path, **request), said([orjson.dumps({"choices": choices})], headers=JSON, status=status)
    )


def choice(text: str, index: int = 0, **more: Any) -> dict[str, Any]:
    """One of a chat."""
    return {"index": index, "message": {"content": text, **more}, "finish_reason": "stop"}


def test_a_chat_goes_through_the_template() -> None:
    """With its tools and the keywords of its request; the recording says that it is approximate."""
    (found,) = tokenized(answered(choice("ok"), temperature=0.5), Letters(), "0a1b")
    assert (found.prompt, found.tokens, found.finish) == (ids("uhi>"), ids("ok"), "stop")
    assert (found.is_approximate, found.name, found.sampling) == (True, "0a1b", (("temperature", 0.5),))
    (found,) = tokenized(answered(choice("ok"), tools=[{}], chat_template_kwargs={"mood": "!"}), Letters())
    assert found.prompt == ids("tuhi>!")
    (found,) = tokenized(answered(choice("ok"), add_generation_prompt=False), Letters())
    assert found.prompt == ids("uhi")


def test_a_message_in_parts_is_their_text() -> None:
    """A picture has none: the prompt is not known."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    (found,) = tokenized(answered(choice("ok"), messages=[{"role": "user", "content": parts}]), Letters())
    assert found.prompt == ids("ua\nb>")
    picture = [{"type": "image_url", "image_url": {}}]
    assert tokenized(answered(choice("ok"), messages=[{"role": "user", "content": picture}]), Letters()) == []


def test_completions_have_one_prompt_or_several() -> None:
    """Texts, or ids as they are; each prompt has as many choices as were asked for."""
    texts = [{"index": number, "text": text, "finish_reason": "length"} for number, text in enumerate("abcd")]
    several = tokenized(answered(*texts, path=COMPLETIONS, prompt=["x", "y"], n=2, seed=5), Letters(), "0a1b")
    assert [(one.prompt, one.tokens, one.name) for one in several] == [
        ((1, *ids("x")), ids("a"), "0a1b choice 0"),
        ((1, *ids("x")), ids("b"), "0a1b choice 1"),
        ((1, *ids("y")), ids("c"), "0a1b choice 2"),
        ((1, *ids("y")), ids("d"), "0a1b choice 3"),
    ]
    assert [dict(one.sampling)["seed"] for one in several] == [5, 6, 5, 6]
    (one,) = tokenized(answered(texts[0], path=COMPLETIONS, prompt=[7, 8]), Letters())
    assert one.prompt == (7, 8)


def test_a_stream_gives_its_times() -> None:
    """Those of its events, spread over the tokens where there are more of them."""
    events = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
        {"choices": [{"index": 0, "delta": {"content": "ab"}}]},
        {"choices": [{"index": 0, "delta": {"content": "cd"}, "finish_reason": "stop", "stop_reason": "x"}]},
    ]
    chunks = [encode(orjson.dumps(event)) for event in events]
    answer = said([*chunks, encode(b"[DONE]")])
    (found,) = tokenized(exchange(asked("hi", stream=True), answer), Letters())
    _, first, second, _ = answer.timeline.chunks
    assert (found.tokens, found.times) == (ids("abcdx"), (first, first, first, second, second))
    assert (found.stop_reason, found.ended_by_itself) == ("x", False)


def test_a_stop_string_that_was_cut_off_is_put_back() -> None:
    """vLLM stops there again; it is in the text where the request asked for that."""
    stopped = choice("ok") | {"stop_reason": "!"}
    texts = [
        tokenized(answered(stopped, include_stop_str_in_output=given), Letters())[0].tokens for given in (False, True)
    ]
    assert texts == [ids("ok!"), ids("ok")]


@pytest.mark.parametrize(
    "left_out",
    [
        answered(choice("ok"), path="/v1/embeddings"),
        answered(choice("ok"), status=500),
        answered(choice("ok", reasoning="hm")),
        answered(choice("", tool_calls=[{"function": {"name": "f"}}])),
        answered({"index": 0, "message": {"content": "cut"}}),
        answered(choice("ok"), messages=[{"role": "system", "content": "alone"}]),
        answered(choice("ok"), messages="none"),
        answered({"index": 0, "text": "a", "finish_reason": "stop"}, path=COMPLETIONS, prompt=5),
        answered({"index": 3, "text": "a", "finish_reason": "stop"}, path=COMPLETIONS, prompt="x"),
    ],
)
def test_what_is_more_than_text_is_left_out(left_out: Exchange) -> None:
    """What the model wrote for it is not on the recording. A chat that the template refuses is nobody's prompt."""
    assert tokenized(left_out, Letters()) == []
