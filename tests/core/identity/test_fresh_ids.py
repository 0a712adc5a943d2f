"""Which ids of a request stand for recorded ones, and everything that makes it uncertain."""

from __future__ import annotations

import json
from typing import Any

import pytest

from replayproxy.core.identity.fresh_ids import Uncertain, fresh_ids, is_random_id, may_hold_fresh_ids, with_ids
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.model import Request

MATCHER = Matcher(MatchRules())
UUIDS = "8e90bd35-2885-44f6-955f-9f58a26e8a45", "3abfb103-c703-4d4d-bb0a-32d02460d2df"


def chat(*messages: dict[str, Any], **more: Any) -> Request:
    """A request for a chat."""
    return Request(
        "POST", "/v1/chat/completions", (), json.dumps({"model": "m", "messages": messages, **more}).encode()
    )


def tool(content: Any) -> dict[str, Any]:
    """What a tool returned."""
    return {"role": "tool", "tool_call_id": "call_1", "content": content}


def user(content: str) -> dict[str, Any]:
    """What a user says."""
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("recorded", "fresh"),
    [
        UUIDS,
        (UUIDS[0].replace("-", ""), UUIDS[1].replace("-", "")),
        ("T-81c2f0", "T-9e04aa"),
        ("T-81c2f0", "T-123456"),
        ("81c2f0aa", "deadbeef"),
        ("ORD-7F3A9C21", "ORD-B2904D1E"),
        ("call_a1b2c3d4e5", "call_Zz99Yy88Xx"),
        ("PdlZcEHJNyzRZd4_47xKJA", "PrEJsY83WriEWTwsXry5Zw"),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "01BX5ZZKBKACTAV9WEVGEMMVRZ"),
        ("cus_a1B2c3D4e5F6g7", "cus_z9Y8x7W6v5U4t3"),
    ],
)
def test_ids_that_something_drew_at_random(recorded: str, fresh: str) -> None:
    """Ids of the usual kinds have the form of an id, whichever digits the fresh one happens to have."""
    assert is_random_id(recorded, fresh)


@pytest.mark.parametrize(
    ("recorded", "fresh"),
    [
        ("4711", "4712"),
        ("100000", "200000"),
        ("12345678", "87654321"),
        ("order-1001", "order-1002"),
        ("python311", "python312"),
        ("A100SXM", "H200PCI"),
        ("A380neo", "B737max"),
        ("Qwen2-7B", "Phi3-4k2"),
        ("llama3-8b", "phi4-mini"),
        ("FY24plan", "Q3report"),
        ("sunshine", "thunders"),
        ("2026-11-17", "2026-11-18"),
        ("T-81c2f0", "T-81c2f1"),
        ("T-81c2f0", "T-9e04aab"),
        ("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"),
        ("81c2f0", "zzzz99"),
    ],
)
def test_words_that_mean_something(recorded: str, fresh: str) -> None:
    """Numbers, versions, models, dates, counters and words stand for nothing but themselves."""
    assert not is_random_id(recorded, fresh)


ASSISTANT = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "open", "arguments": "{}"}}],
}


@pytest.mark.parametrize(
    "returned",
    [
        lambda id: f"ticket {id} is open",
        lambda id: json.dumps({"ticket": id, "note": "first line\n" + id}),
        lambda id: [{"type": "text", "text": f"<{id}>"}],
    ],
)
def test_an_id_of_a_tool(returned: Any) -> None:
    """An id of a tool's output stands for the recorded one there and wherever it is repeated later."""
    recorded, received = (
        chat(user("open one"), ASSISTANT, tool(returned(id)), {"role": "assistant", "content": id}, user(f"close {id}"))
        for id in ("T-81c2f0", "T-9e04aa")
    )
    ids = fresh_ids(MATCHER, recorded, received)
    assert ids == {"T-9e04aa": "T-81c2f0"}
    assert MATCHER.key(with_ids(received, ids)) == MATCHER.key(recorded)


def test_ids_of_other_dialects() -> None:
    """The outputs of tools in Messages and in Responses hold fresh ids as well; so do the ids of calls."""
    anthropic, responses, calls = (
        [
            Request("POST", "/v1/x", (), json.dumps(body(*ids)).encode())
            for ids in (("T-81c2f0", "call_a1b2c3d4e5"), ("T-9e04aa", "call_Zz99Yy88Xx"))
        ]
        for body in (
            lambda id, _: {
                "messages": [
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": f"made {id}"}]}
                ]
            },
            lambda id, _: {"input": [{"type": "function_call_output", "call_id": "x", "output": f"made {id}"}]},
            lambda _, call: {
                "messages": [
                    {"role": "assistant", "tool_calls": [{"id": call, "type": "function", "function": {}}]},
                    {"role": "tool", "tool_call_id": call, "content": "done"},
                ]
            },
        )
    )
    assert fresh_ids(MATCHER, *anthropic) == {"T-9e04aa": "T-81c2f0"}
    assert fresh_ids(MATCHER, *responses) == {"T-9e04aa": "T-81c2f0"}
    assert fresh_ids(MATCHER, *calls) == {"call_Zz99Yy88Xx": "call_a1b2c3d4e5"}


A, B, C = "T-81c2f0", "T-9e04aa", "T-77ab31"


@pytest.mark.parametrize(
    ("recorded", "received", "reason"),
    [
        (chat(user(f"close {A}")), chat(user(f"close {B}")), "first seen outside"),
        (chat(user(f"close {A}"), tool(A)), chat(user(f"close {B}"), tool(B)), "first seen outside"),
        (
            chat({"role": "system", "content": f"session {A}"}, tool(A)),
            chat({"role": "system", "content": f"session {B}"}, tool(B)),
            "first seen outside",
        ),
        (chat(tool(A), user("a"), tools=[A]), chat(tool(B), user("a"), tools=[B]), "first seen outside"),
        (chat(tool(A), tool(A)), chat(tool(B), tool(C)), "same recorded id"),
        (chat(tool(A), tool(B)), chat(tool(C), tool(C)), "stands for"),
        (chat(tool(A), tool(B)), chat(tool(B), tool(A)), "not fresh"),
        (chat(tool(f"{A} 12 EUR")), chat(tool(f"{B} 17 EUR")), "a number may mean something"),
        (chat(tool(f"{A} open")), chat(tool(f"{B} shut")), "do not look drawn at random"),
        (chat(tool(f"{A} is open")), chat(tool(f"{B} is closed")), "another length"),
        (chat(tool(f"{A} ok")), chat(tool(f"{B}: ok")), "another length"),
        (chat(tool(f"{A}, ok")), chat(tool(f"{B}; ok")), "more than words"),
        (chat(tool("#1a2b3c")), chat(tool("#99ffee")), "colour"),
        (chat(tool(A), temperature=0), chat(tool(B), temperature=1), "$.temperature differs"),
        (chat(tool(A)), chat(tool(B), user("more")), "was not recorded"),
        (chat(tool(A), user("more")), chat(tool(B)), "is absent"),
        (chat(tool(A)), chat(tool(A)), "nothing differs"),
    ],
)
def test_what_is_not_certain(recorded: Request, received: Request, reason: str) -> None:
    """Each way in which another request could be taken for the recorded one is refused with its reason."""
    with pytest.raises(Uncertain, match=r".*") as refused:
        fresh_ids(MATCHER, recorded, received)
    assert reason in str(refused.value)


def test_the_key_has_the_last_word() -> None:
    """An object with an id as a name differs in more than values, so the request is another one."""
    with pytest.raises(Uncertain):
        fresh_ids(MATCHER, chat(tool({A: 1})), chat(tool({B: 1})))


def test_normalised_texts_need_no_ids() -> None:
    """What a normaliser makes equal does not count as a difference, and the ids beside it are found."""
    matcher = Matcher(MatchRules(normalise=("timestamp",)))
    recorded, received = (
        chat(tool(f"{id} at {at}")) for id, at in ((A, "2026-11-17T10:00:00Z"), (B, "2026-11-18T10:00:00+01:00"))
    )
    assert fresh_ids(matcher, recorded, received) == {B: A}


def test_with_ids_leaves_parts_of_words() -> None:
    """Only whole words are replaced; a request without any stays the same object."""
    request = chat(tool(f"x{B} {B}y {B}"))
    assert json.loads(with_ids(request, {B: A}).body)["messages"][0]["content"] == f"x{B} {B}y {A}"
    assert with_ids(request, {C: A}) is request
    assert with_ids(Request("POST", "/", (), b"not JSON " + B.encode()), {B: A}).body == b"not JSON " + B.encode()


def test_requests_without_tools_are_not_searched() -> None:
    """A request that no tool has written into is not worth a search."""
    assert not may_hold_fresh_ids(chat(user("open a ticket")))
    assert may_hold_fresh_ids(chat(tool("x")))
