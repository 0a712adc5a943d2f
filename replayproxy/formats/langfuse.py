"""Observations that Langfuse exports, as JSON or JSON lines: those of the type GENERATION.

`{id, type, startTime, completionStartTime, endTime, model, modelParameters, input, output, usageDetails, level,
statusMessage}`; names in snake_case are read too. Input and output are what the instrumented program handed over:
messages as values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from replayproxy.formats.bodies import located
from replayproxy.formats.chat_answers import chat_exchange, chat_request, completion_of
from replayproxy.formats.format import Beat, Format, ImportedExchange, Kept, Notes, Part
from replayproxy.formats.logs import first_row, moment, parsed_text, rows_of
from replayproxy.formats.source import SourceFile

NOT_GENERATION, NO_INPUT, FAILED = (
    "an observation that is not a generation",
    "a generation without input",
    "a generation that failed",
)


def read(source: SourceFile, notes: Notes) -> Iterator[ImportedExchange]:
    """Read the generations that have an input and an output."""
    for place, row in rows_of(source):
        with located(source.error, place):
            if str(row.get("type", "GENERATION")).upper() != "GENERATION":
                notes.skipped[NOT_GENERATION] += 1
            elif row.get("input") is None:
                notes.skipped[NO_INPUT] += 1
            elif row.get("level") == "ERROR" or row.get("output") is None:
                notes.skipped[FAILED] += 1
            else:
                yield _exchange(row, source.modified_at)


def _exchange(row: Mapping[str, Any], modified_at: int) -> ImportedExchange:
    start = moment(row, "startTime", "start_time", "timestamp")
    first, end = moment(row, "completionStartTime", "completion_start_time"), moment(row, "endTime", "end_time")
    at = modified_at if start is None else start
    total = 0 if end is None or start is None else max(0, end - start)
    ttft = total if first is None or start is None else max(0, first - start)
    model = str(row.get("model") or row.get("providedModelName") or "unknown")
    parameters = parsed_text(row.get("modelParameters") or row.get("model_parameters"))
    body = _request(parsed_text(row["input"]), model, parameters if isinstance(parameters, dict) else {})
    answer = _answer(parsed_text(row["output"]), model, _usage(row))
    exchange = chat_exchange(chat_request(body), answer, at, first=ttft, end=max(total, ttft))
    return ImportedExchange(exchange, Beat.ENDS if total else Beat.NONE)


def _request(value: Any, model: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    more: dict[str, Any] = {}
    match value:
        case {"messages": [*messages]}:
            more = {name: item for name, item in value.items() if name != "messages"}
        case [*messages]:
            pass
        case str():
            messages = [{"role": "user", "content": value}]
        case _:
            messages = [{"role": "user", "content": str(value)}]
    return {"model": model, "messages": messages, **parameters, **more}


def _answer(value: Any, model: str, usage: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(value, dict) and isinstance(value.get("choices"), list):
        return value
    if isinstance(value, list) and value:
        value = value[-1]
    message = value if isinstance(value, dict) else {"content": str(value)}
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    return completion_of(message, model, finish, usage or None)


def _usage(row: Mapping[str, Any]) -> dict[str, Any]:
    found = parsed_text(row.get("usageDetails") or row.get("usage_details") or row.get("usage"))
    if not isinstance(found, dict):
        return {}
    counts = {
        "prompt_tokens": found.get("input"),
        "completion_tokens": found.get("output"),
        "total_tokens": found.get("total"),
    }
    return {name: count for name, count in counts.items() if type(count) is int}


def recognises(source: SourceFile) -> bool:
    """Whether the first row is an observation."""
    row = first_row(source)
    traced = {"traceId", "trace_id"} & row.keys()
    timed = {"startTime", "start_time", "completionStartTime"} & row.keys()
    return bool(traced and timed and {"input", "output"} <= row.keys() and "call_type" not in row)


LANGFUSE = Format(
    name="langfuse",
    title="observations of Langfuse",
    keeps={Part.TIMES: Kept.PARTLY, Part.BYTES: Kept.NO, Part.REQUEST: Kept.PARTLY, Part.ARRIVAL: Kept.YES},
    loses="Bytes, events and chunks (answers are made anew), header fields, endpoints, failures; times but for"
    " the first token and the end. Requests have the values that the program handed over, as a chat.",
    suffix=".json",
    read=read,
    recognises=recognises,
)
