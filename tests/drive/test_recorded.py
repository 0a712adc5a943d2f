"""What a plan reads of a cassette: times, tokens, names of sessions, and what keeps a length from being forced."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.drive.recorded import constraint_of, recorded_turns, thread_of
from replayproxy.model import Ending, Request
from replayproxy.views.port import EVERYTHING, ExchangeFilter
from tests.cli.tapes import DAY, MS, chat, writing
from tests.doubles.driving import chat_request, message_answer, streamed_text


def test_exchanges_are_read_by_time(tmp_path: Path) -> None:
    """Times in ns; a request that was not recorded to its end cannot be sent."""
    path = tmp_path / "a.cassette"
    with writing(path, sealed=False) as keep:
        keep(
            chat("one", started=0, usage=(10, 3)),
            chat("left", started=500, ending=Ending.CLIENT_LEFT),
            replace(chat("cut", started=700), request_cut=True),
        )
    with CassetteBrowser.open(path) as browser:
        turns = list(recorded_turns(browser, EVERYTHING))
        assert len(list(recorded_turns(browser, ExchangeFilter(where="number = 1")))) == 1
    one, left, cut = turns
    assert one is not None
    assert (one.at, one.took, one.ttft, one.prompt_tokens, one.output_tokens) == (DAY, 141 * MS, 100 * MS, 10, 3)
    assert (one.was_answered, one.client_left) == (True, False)
    assert left is not None
    assert (left.was_answered, left.client_left, left.took) == (False, True, 140 * MS)
    assert cut is None


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({}, None),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format"),
        ({"tool_choice": "auto"}, None),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice"),
        ({"guided_regex": "a+"}, "guided_regex"),
        ({"structured_outputs": {"choice": ["a"]}}, "structured_outputs"),
    ],
)
def test_constraints_are_found(more: dict[str, Any], field: str | None) -> None:
    """Fields under which only some tokens may be generated."""
    assert constraint_of({"model": "tiny", **more}) == field


@pytest.mark.parametrize(
    ("headers", "body", "key"),
    [
        ((("X-Session-Id", "s"),), {"prompt_cache_key": "p"}, "s"),
        ((("x-user-id", "u"),), {}, "u"),
        ((), {"metadata": {"session_id": "m"}}, "m"),
        ((), {"conversation": {"id": "c"}}, "c"),
        ((), {"conversation": "conv"}, "conv"),
        ((), {"prompt_cache_key": "p"}, "p"),
        ((), {"metadata": {"session_id": 7}}, None),
    ],
)
def test_names_of_sessions_are_found(headers: Any, body: dict[str, Any], key: str | None) -> None:
    """A header field before the body, and only texts."""
    request = Request("POST", "/v1/chat/completions", headers, orjson.dumps(body))
    assert thread_of(request, message_answer({"role": "assistant", "content": "x"})).key == key


def test_streamed_and_whole_answers_are_continued_alike() -> None:
    """By the texts, not by ids; a part list with one text is that text."""
    streamed = thread_of(chat_request("hello"), streamed_text("Hi you"))
    whole = thread_of(chat_request("hello"), message_answer({"role": "assistant", "content": "Hiyou"}))
    parts = {"role": "assistant", "content": [{"type": "text", "text": "Hiyou"}]}
    after = thread_of(chat_request("hello", parts, "more"), message_answer({"role": "assistant", "content": "x"}))
    assert streamed.continued == whole.continued == after.prefixes[1]
    assert streamed.prefixes[0] == after.prefixes[0]


def test_tool_calls_are_continued_whatever_their_ids() -> None:
    """The arguments count, the id does not; an answer with an error is not continued."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    thread = thread_of(chat_request("hello"), message_answer(message))
    later = {"role": "assistant", "content": "", "tool_calls": [{**call, "id": "b"}]}
    result = {"role": "tool", "tool_call_id": "b", "content": "1"}
    assert thread_of(chat_request("hello", later, result), streamed_text("x")).prefixes[1] == thread.continued
    assert thread_of(Request("POST", "/", (), b"\xff"), streamed_text("x")).prefixes == ()
