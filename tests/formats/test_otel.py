"""Spans by the GenAI convention, in OTLP's JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from replayproxy.formats.otel import CONVENTION, NOT_GENERATING, OTEL
from tests.formats.files import export_of
from tests.formats.workloads import conversations


def attributes(of: dict[str, Any]) -> dict[str, Any]:
    """Attributes by name, each as its value."""
    return {each["key"]: next(iter(each["value"].values())) for each in of["attributes"]}


def spans(path: Path) -> list[dict[str, Any]]:
    """The spans of an export."""
    lines = [orjson.loads(line) for line in export_of(path, OTEL)[0].splitlines()]
    for line in lines:
        assert attributes(line["resourceSpans"][0]["resource"])["replayproxy.genai_convention"] == CONVENTION
    return [line["resourceSpans"][0]["scopeSpans"][0]["spans"][0] for line in lines]


def test_a_span_has_the_names_of_the_convention(tmp_path: Path) -> None:
    """Operation, model, usage, messages, TTFT."""
    span = spans(conversations(tmp_path / "a.cassette"))[0]
    found = attributes(span)
    assert (span["name"], span["kind"]) == ("chat tiny", 3)
    assert found["gen_ai.operation.name"] == "chat"
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == ("700", "3")
    assert found["gen_ai.response.time_to_first_chunk"] == 0.1
    assert orjson.loads(found["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "What is a cassette?"}]}
    ]
    (output,) = orjson.loads(found["gen_ai.output.messages"])
    assert (output["parts"][0]["content"], output["finish_reason"]) == ("Hi there!", "stop")


def test_chunks_are_events_at_their_times(tmp_path: Path) -> None:
    """In ns since the Unix epoch, as text; ids are of the right length and the same in every export."""
    path = conversations(tmp_path / "a.cassette")
    span = spans(path)[0]
    start = int(span["startTimeUnixNano"])
    assert [int(each["timeUnixNano"]) - start for each in span["events"]] == [
        100_000_000,
        120_000_000,
        140_000_000,
        141_000_000,
    ]
    assert (len(span["traceId"]), len(span["spanId"])) == (32, 16)
    assert spans(path)[0] == span


def test_turns_share_a_trace_and_errors_are_errors(tmp_path: Path) -> None:
    """What generates nothing is counted."""
    path = conversations(tmp_path / "a.cassette")
    found = spans(path)
    assert found[3]["traceId"] == found[2]["traceId"] != found[1]["traceId"]
    failed = [span for span in found if span["status"].get("code") == 2]
    assert [attributes(span)["error.type"] for span in failed] == ["500"]
    assert export_of(path, OTEL)[1].notes.skipped == {NOT_GENERATING: 1}
