"""What is changed in a request, and that nothing else is."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from replayproxy.drive.changes import RequestChanges, field_of, models_of, with_salt
from replayproxy.drive.plan import PlannedRequest
from replayproxy.errors import SettingsError
from replayproxy.model import Request
from replayproxy.views.pairing import Source, source_of
from tests.doubles.driving import chat_request, turn


def planned(place: int = 3, loop: int = 0, **more: Any) -> PlannedRequest:
    """A request of a plan."""
    return PlannedRequest(place, turn(7, **more), loop, "s", 0, 0)


def body_after(changes: RequestChanges, request: Request, one: PlannedRequest | None = None) -> dict[str, Any]:
    """The body that is sent."""
    found: dict[str, Any] = orjson.loads(changes.of(request, one or planned()).body)
    return found


def test_without_changes_the_bytes_are_the_recorded_ones() -> None:
    """White space included; only the id and the note are new, and those of an earlier run go."""
    request = Request("POST", "/v1/chat/completions", (("x-request-id", "a"), ("Accept", "*/*")), b'{ "model" : "a" }')
    sent = RequestChanges("run").of(request, planned(loop=2))
    assert sent.body == request.body
    assert sent.headers == (
        ("Accept", "*/*"), ("X-Request-Id", "rp-run-3-2"), ("X-Replayproxy-Source", "00000007;loop=2"),
    )  # fmt: skip
    assert source_of(sent) == Source("00000007", 2)
    again = RequestChanges("run").of(sent, planned(loop=0))
    assert [value for name, value in again.headers if name == "X-Replayproxy-Source"] == ["00000007"]


def test_models_are_renamed() -> None:
    """One by its name, all others by the name alone."""
    changes = RequestChanges("r", models=models_of(["tiny=large", "other"]))
    assert body_after(changes, chat_request("a"))["model"] == "large"
    assert body_after(changes, chat_request("a", model="x"))["model"] == "other"
    assert (
        RequestChanges("r", models=models_of(["x=y"])).of(chat_request("a"), planned()).body == chat_request("a").body
    )
    with pytest.raises(SettingsError, match="OLD=NEW"):
        models_of(["tiny="])


def test_fields_are_set() -> None:
    """By dotted names, as JSON where it is JSON."""
    texts = ("body.temperature=0", "stream_options.include_usage=true", "user=me", "stop=[]")
    changes = RequestChanges("r", fields=tuple(map(field_of, texts)))
    body = body_after(changes, chat_request("a"))
    assert (body["temperature"], body["stream_options"], body["user"], body["stop"]) == (
        0, {"include_usage": True}, "me", [],
    )  # fmt: skip
    for text in ("temperature", "=1", "a..b=1"):
        with pytest.raises(SettingsError, match="NAME=VALUE"):
            field_of(text)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, {"max_tokens": 5, "ignore_eos": True}),
        ({"max_tokens": 99, "min_tokens": 9}, {"max_tokens": 5, "ignore_eos": True}),
        ({"max_completion_tokens": 99}, {"max_completion_tokens": 5, "ignore_eos": True}),
    ],
)
def test_a_length_is_forced(more: dict[str, Any], expected: dict[str, Any]) -> None:
    """By the field that the request uses; min_tokens would contradict."""
    body = body_after(RequestChanges("r", force_length=True), chat_request("a", **more), planned(output_tokens=5))
    assert {key: value for key, value in body.items() if key not in ("model", "messages", "stream")} == expected


def test_no_length_is_forced_where_none_can_be() -> None:
    """No count, or tokens that are not free."""
    changes, request = RequestChanges("r", force_length=True), chat_request("a")
    assert changes.of(request, planned()).body == request.body
    assert changes.of(request, planned(output_tokens=5, constraint="guided_regex")).body == request.body


@pytest.mark.parametrize(
    ("body", "path", "before"),
    [
        ({"messages": [{"role": "user", "content": "a"}]}, ("messages", 0, "content"), "a"),
        ({"system": "s", "messages": []}, ("system",), "s"),
        ({"prompt": "p"}, ("prompt",), "p"),
        ({"input": "i"}, ("input",), "i"),
        ({"instructions": "n", "input": "i"}, ("instructions",), "n"),
    ],
)
def test_a_salt_stands_before_everything(body: dict[str, Any], path: tuple[Any, ...], before: str) -> None:
    """The prompt begins with it, so no prefix is shared."""
    found: Any = with_salt(body, "x")
    for step in path:
        found = found[step]
    assert found == f"[x] {before}"


def test_a_salt_of_other_prompts() -> None:
    """Parts get a part of their own; token ids get vLLM's `cache_salt`."""
    parts = {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}
    assert with_salt(parts, "x")["messages"][0]["content"][0] == {"type": "text", "text": "[x] "}
    assert with_salt({"prompt": [1, 2]}, "x") == {"prompt": [1, 2], "cache_salt": "x"}


def test_salts_are_shared_as_it_is_asked() -> None:
    """By all of a run, a loop, a session, or nobody; another run has others."""

    def salt(shared: str, place: int, loop: int, session: str, run: str = "r") -> str:
        one = PlannedRequest(place, turn(7), loop, session, 0, 0)
        text: str = body_after(RequestChanges(run, salt=shared), chat_request("a"), one)["messages"][0]["content"]
        return text

    points = [(1, 0, "a"), (2, 0, "a"), (3, 0, "b"), (4, 1, "a")]
    different = {
        shared: len({salt(shared, *point) for point in points}) for shared in ("run", "loop", "session", "request")
    }
    assert different == {"run": 1, "loop": 2, "session": 3, "request": 4}
    assert salt("run", 1, 0, "a") != salt("run", 1, 0, "a", run="other")


def test_a_packed_body_is_unpacked_where_it_is_changed() -> None:
    """And its coding is no longer named."""
    import gzip

    packed = Request("POST", "/v1/x", (("Content-Encoding", "gzip"),), gzip.compress(b'{"model":"a"}'))
    sent = RequestChanges("r", models={"": "b"}).of(packed, planned())
    assert sent.body == b'{"model":"b"}'
    assert "content-encoding" not in {name.lower() for name, _ in sent.headers}
    assert RequestChanges("r").of(packed, planned()).body == packed.body


def test_a_body_without_json_is_sent_as_it_is() -> None:
    """There is nothing to change in it."""
    sent = RequestChanges("r", models={"": "b"}, salt="run").of(Request("POST", "/v1/audio", (), b"\xff"), planned())
    assert sent.body == b"\xff"
