"""Tests of `api/exchange`: one exchange as programs look at it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from replayproxy import Cassette, Ending, Exchange, Usage
from tests.cli.tapes import DAY, MS


def test_a_streamed_answer(five: Path) -> None:
    """Its text, its events with their times, its token counts."""
    with Cassette.open(five) as cassette:
        first = next(iter(cassette))
        assert (first.model, first.status, first.finish_reason, first.is_complete) == ("a", 200, "stop", True)
        assert first.usage == Usage(10, 3, None)
        assert (first.text, first.texts) == ("Hi there!", ("Hi there!",))
        assert first.recorded_at == datetime.fromtimestamp(DAY / 1e9, UTC)
        assert first.timeline.chunks == (100 * MS, 120 * MS, 140 * MS, 141 * MS)
        assert [event.at for event in first.events] == [100 * MS, 120 * MS, 140 * MS, *[141 * MS] * 3]
        assert first.events[0].json["choices"][0]["delta"] == {"content": "Hi"}
        assert (first.events[-1].name, first.events[-1].data) == ("message", "[DONE]")
        with pytest.raises(ValueError, match="Expecting value"):
            _ = first.events[-1].json
        assert first.request_json["messages"] == [{"role": "user", "content": "one"}]
        assert (first.request.method, first.request.path) == ("POST", "/v1/chat/completions")
        assert first.legs == ()
        assert first.scope == ""
        assert repr(first) == f"<Exchange {first.id} POST /v1/chat/completions 200>"
        assert first.row["ttft_s"] == 0.1


def test_other_answers(five: Path) -> None:
    """A body in one piece has no events; a pair has legs; without usage there is none."""
    with Cassette.open(five) as cassette:
        _, second, refused, models, pair = cassette
        assert second.usage is None
        assert (refused.status, refused.json) == (400, {"error": {"message": "no"}})
        assert (models.json["data"][0]["id"], models.events, models.model) == ("a", (), None)
        assert [leg.role for leg in pair.legs] == ["prefill", "decode"]


def test_real_answers_can_be_looked_at(golden: Path) -> None:
    """All that a real vLLM said."""
    with Cassette.open(golden) as cassette:
        for exchange in cassette:
            assert exchange.response.status == exchange.status
            assert "".join(event.data for event in exchange.events).count("[DONE]") <= 1
            assert repr(exchange)
        assert sum(len(exchange.text) for exchange in cassette) > 1000


def test_an_exchange_is_made_of_its_parts() -> None:
    """A stream with times, or a body; JSON where it is not bytes."""
    made = Exchange.of(
        "POST",
        "/v1/chat/completions?x=1",
        {"model": "m"},
        answer=[b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n', b"data: [DONE]\n\n"],
        times=[0.1, 0.25],
        recorded_at=datetime(2026, 11, 18, tzinfo=UTC),
    )
    assert (made.id, made.number, made.key, made.row) == (None, None, None, {})
    assert (made.model, made.text, made.usage, made.status) == ("m", "Hi", None, 200)
    assert (made.timeline.head, made.timeline.chunks, made.timeline.end) == (100 * MS, (100 * MS, 250 * MS), 250 * MS)
    assert made.response.ending is Ending.COMPLETE
    assert made.is_complete
    assert made.recorded_at == datetime(2026, 11, 18, tzinfo=UTC)
    assert repr(made) == "<Exchange POST /v1/chat/completions 200>"
    body = Exchange.of("POST", "/v1/embeddings", b"{}", answer={"data": []}, status=201)
    assert (body.json, body.status, body.events, body.request.body) == ({"data": []}, 201, (), b"{}")
    texts = Exchange.of("POST", "/", "plain", answer=["a", "b"])
    assert (texts.request.body, texts.response.body, texts.response.cuts) == (b"plain", b"ab", (1, 1))
    assert Exchange.of("POST", "/", answer=[{"id": 1}]).json == [{"id": 1}]
    assert body.recorded_at > datetime(2026, 1, 1, tzinfo=UTC)
    assert body != made
    assert body == Exchange(body.value)
    assert len({made, body, Exchange(body.value)}) == 2


@pytest.mark.parametrize("times", [[0.1], [0.2, 0.1], [-1, 0]])
def test_times_that_do_not_fit_are_refused(times: list[float]) -> None:
    """One for each chunk, and time does not go back."""
    with pytest.raises(ValueError, match="times"):
        Exchange.of("GET", "/", answer=[b"a", b"b"], times=times)
