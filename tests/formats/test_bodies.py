"""Values of other programs: each is checked where it is read, and answers are made of what was kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from replayproxy.core.dialects.sse import events_of
from replayproxy.formats import bodies
from replayproxy.model import Ending

STREAM = bodies.STREAM_FIELDS


@pytest.mark.parametrize(
    ("read", "value", "problem"),
    [
        (bodies.text_in, 7, "is not text"),
        (bodies.text_in, "\ud800", "surrogates not allowed"),
        (bodies.object_in, [], "is not an object"),
        (bodies.status_in, 99, "is not a status"),
        (bodies.status_in, "teapot", "is not a status"),
        (bodies.status_in, True, "is not a status"),
        (bodies.number_in, float("nan"), "is not a number"),
        (bodies.number_in, -1, "is not a number"),
        (bodies.number_in, "1", "is not a number"),
        (bodies.whole_in, 1.5, "is not a whole number"),
        (bodies.whole_in, 1 << 63, "is not a whole number"),
    ],
)
def test_a_member_of_the_wrong_kind_is_refused(read: Callable[..., object], value: Any, problem: str) -> None:
    """With its name."""
    with pytest.raises(ValueError, match=problem):
        read({"x": value}, "x")


def test_members_that_are_there_are_read() -> None:
    """And those that are not have a default where one is given."""
    assert bodies.status_in({"x": "200"}, "x") == 200
    assert bodies.number_in({"x": None}, "x") == 0.0
    assert bodies.text_in({}, "x", "none") == "none"


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01 00:00:01", 1_000_000_000),
        ("1970-01-01T01:00:01.5+01:00", 1_500_000_000),
    ],
)
def test_times_are_read_with_and_without_a_zone(text: str, ns: int) -> None:
    """Without one they are UTC."""
    assert bodies.ns_of(text) == ns
    assert bodies.ns_of(bodies.iso_time(ns)) == ns


@pytest.mark.parametrize("text", ["1969-01-01T00:00:00Z", "soon", 7, None])
def test_what_is_not_a_time_is_refused(text: object) -> None:
    """A time before 1970 cannot be stored."""
    with pytest.raises(ValueError, match=r"time|isoformat|1970"):
        bodies.ns_of(text)


@pytest.mark.parametrize(
    "value",
    [
        [["a", "1"], ["b", "2"], ["b", "3"]],
        [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}, {"name": "b", "value": 3}],
        {"a": "1", "b": ["2", "3"]},
        {"a": ["1"], "b": [b"2", "3"]},
    ],
)
def test_fields_are_read_in_every_spelling(value: object) -> None:
    """Pairs, objects with name and value, an object of names."""
    assert bodies.fields_of(value) == (("a", "1"), ("b", "2"), ("b", "3"))


@pytest.mark.parametrize("value", [[["a"]], 7, [["", "b"]], [["a\n", "b"]], [["a", "b\r\nc: d"]], [["a", None]]])
def test_a_field_that_would_become_another_one_is_refused(value: object) -> None:
    """A line end in a value is a field of its own to whoever is sent it."""
    with pytest.raises(ValueError, match=r"field|list"):
        bodies.fields_of(value)


def test_a_value_that_latin_1_lacks_is_utf_8() -> None:
    """A character is a byte here."""
    assert bodies.fields_of([["a", "日"]]) == (("a", "日".encode().decode("latin-1")),)
    assert bodies.fields_of([["a", "é"]]) == (("a", "é"),)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://h/v1/x?a=b#c", "/v1/x?a=b"),
        ("http://h", "/"),
        ("/v1", "/v1"),
        ("http://h/é日", "/%C3%A9%E6%97%A5"),
    ],
)
def test_the_target_of_a_url(url: str, target: str) -> None:
    """Path and query, as they stand in a request line."""
    assert bodies.target_of(url) == target


@pytest.mark.parametrize("url", ["http://h/a b", "mailto:x", "http://h/\x01"])
def test_what_cannot_stand_in_a_request_line_is_refused(url: str) -> None:
    """A blank would end the target."""
    with pytest.raises(ValueError, match=r"path|blank"):
        bodies.target_of(url)


@pytest.mark.parametrize("content", [b"", b"text", "é".encode(), b"\xff\x00"])
def test_a_body_in_json_comes_back(content: bytes) -> None:
    """As text or as base64."""
    assert bodies.decoded_body(bodies.encoded_body("body", content), "body") == content


EVENTS = [b"data: a\n\n", b": comment\n\n", b"event: e\r\ndata: b\r\n\r\n", b"data: c\n\n"]


def test_a_stream_is_cut_at_its_events() -> None:
    """Whatever ends the lines; what is left at the end is a chunk too."""
    response = bodies.whole_answer(200, STREAM, b"".join(EVENTS) + b"data: half", 5, 9)
    cut = bodies.cut_at_events(response)
    assert cut.body == response.body
    assert len(cut.cuts) >= 4
    assert [event.data for event in events_of(cut.chunks().data())] == ["a", "b", "c"]
    assert all(part.endswith(b"\n") for part in cut.chunks().data()[:-1])
    assert set(cut.timeline.chunks) == {9}


def test_what_is_not_a_stream_in_one_piece_stays_as_it_is() -> None:
    """JSON, and a stream with chunks of its own."""
    whole = bodies.whole_answer(200, bodies.JSON_FIELDS, b"data: a\n\ndata: b\n\n")
    chunked = bodies.streamed_answer(EVENTS, [1, 2, 3, 4])
    assert bodies.cut_at_events(whole) is whole
    assert bodies.cut_at_events(chunked) is chunked


def test_times_of_a_stream_never_go_back() -> None:
    """A clock of the source may have."""
    response = bodies.streamed_answer([b"a", b"", b"b"], [5, 9, 7], head=6)
    assert (response.timeline.chunks, response.timeline.end) == ((6, 9), 9)
    assert response.ending is Ending.COMPLETE
    with pytest.raises(ValueError, match="times do not fit"):
        bodies.streamed_answer([b"a"], [])


def test_events_are_written_as_they_are_read() -> None:
    """Also data with line ends."""
    named: list[tuple[str | None, str]] = [(None, "a"), ("e", "b\nc")]
    found = list(events_of(bodies.events_bytes(named)))
    assert [(event.event, event.data) for event in found] == [("message", "a"), ("e", "b\nc")]


def test_framing_of_a_decoded_body_goes() -> None:
    """Its coding and its length are those of other bytes."""
    fields = (("Content-Encoding", "br"), ("Content-Length", "3"), ("X-A", "b"))
    assert bodies.without_framing(fields) == (("X-A", "b"),)
