"""Logs of LiteLLM: its standard logging payload (objects on S3 or GCS, callbacks), and rows of its spend logs.

`{id, call_type, status, startTime, endTime, completionStartTime, model, model_parameters, messages, response,
error_str}`, one object per file, a list, or one per line. The database keeps texts cut at 2048 characters and marks
them: such rows are left out, because they would answer requests that nobody sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from replayproxy.formats.bodies import CHAT, COMPLETIONS, RESPONSES, located
from replayproxy.formats.chat_answers import chat_exchange, chat_request, completion_of
from replayproxy.formats.format import Beat, Format, ImportedExchange, Kept, Notes, Part
from replayproxy.formats.logs import TRUNCATED, first_row, moment, parsed_text, rows_of
from replayproxy.formats.source import SourceFile

CUT = "a row with texts that LiteLLM has cut off"
OTHER_CALL, EMPTY, FAILED = (
    "a call that is not a completion",
    "a row without messages or response",
    "a call that failed",
)

TARGETS = {
    **dict.fromkeys(("completion", "acompletion", ""), CHAT),
    **dict.fromkeys(("text_completion", "atext_completion"), COMPLETIONS),
    **dict.fromkeys(("responses", "aresponses"), RESPONSES),
}


def read(source: SourceFile, notes: Notes) -> Iterator[ImportedExchange]:
    """Read the completions that have messages and a response."""
    for place, row in rows_of(source):
        with located(source.error, place):
            if (why := _why_not(row)) is not None:
                notes.skipped[why] += 1
                continue
            yield _exchange(row, source.modified_at)


def _why_not(row: Mapping[str, Any]) -> str | None:
    if str(row.get("call_type") or "") not in TARGETS:
        return OTHER_CALL
    if row.get("status") == "failure":
        return FAILED
    messages, response = parsed_text(row.get("messages")), parsed_text(row.get("response"))
    if not messages or not response or isinstance(response, list):
        return EMPTY
    return CUT if TRUNCATED.encode() in orjson.dumps([messages, response]) else None


def _exchange(row: Mapping[str, Any], modified_at: int) -> ImportedExchange:
    start, first = moment(row, "startTime", "start_time"), moment(row, "completionStartTime", "completion_start_time")
    end = moment(row, "endTime", "end_time")
    at = modified_at if start is None else start
    total = 0 if end is None or start is None else max(0, end - start)
    ttft = total if first is None or start is None else max(0, first - start)
    model, parameters = str(row.get("model") or "unknown"), parsed_text(row.get("model_parameters"))
    messages, target = parsed_text(row["messages"]), TARGETS[str(row.get("call_type") or "")]
    named = "prompt" if target == COMPLETIONS else "input" if target == RESPONSES else "messages"
    if named == "messages" and isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    body = {"model": model, named: messages, **(parameters if isinstance(parameters, dict) else {})}
    answer = parsed_text(row["response"])
    if not isinstance(answer, dict):
        answer = completion_of({"content": str(answer)}, model, "stop")
    if target != CHAT:
        body.pop("stream", None)  # only chats are made into streams
    exchange = chat_exchange(chat_request(body, target), answer, at, first=ttft, end=max(total, ttft))
    return ImportedExchange(exchange, Beat.ENDS if total else Beat.NONE)


def recognises(source: SourceFile) -> bool:
    """Whether the first row is a call."""
    row = first_row(source)
    return {"call_type", "messages", "response"} <= row.keys()


LITELLM = Format(
    name="litellm",
    title="logs of LiteLLM",
    keeps={Part.TIMES: Kept.PARTLY, Part.BYTES: Kept.PARTLY, Part.REQUEST: Kept.PARTLY, Part.ARRIVAL: Kept.YES},
    loses="Bytes, events and chunks (streams are made anew), header fields, failures; times but for the first"
    " token and the end. Requests have the parameters that LiteLLM logged. Rows with texts that were cut"
    " off are left out.",
    suffix=".json",
    read=read,
    recognises=recognises,
)
