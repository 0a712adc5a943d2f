"""OpenAI's batch files: requests, or requests with their answers, one JSON object per line.

`openai-batch` writes the requests, for `vllm run-batch` and OpenAI's batch API; the answers stand beside them under
`response`, which both ignore. Streamed answers are folded, and `stream` is left out of their requests, because a batch
does not stream. Read are files that have both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

import orjson

from replayproxy.core.coding import body_of
from replayproxy.core.dialects.facts import parsed
from replayproxy.core.dialects.folding import folded
from replayproxy.core.headers import get
from replayproxy.formats.bodies import (
    JSON_FIELDS,
    json_bytes,
    json_request,
    located,
    object_in,
    status_in,
    target_of,
    text_in,
    whole_answer,
)
from replayproxy.formats.format import (
    Beat,
    ExportContext,
    Format,
    ImportedExchange,
    Kept,
    Notes,
    Part,
    StoredExchange,
)
from replayproxy.formats.source import SourceFile
from replayproxy.model import Exchange

NOT_JSON = "a request that is not JSON sent by POST"
FOLDED = "an answer that was streamed and is folded into one object"
NOT_WHOLE = "an answer that is not JSON"
NO_ANSWER = "a request without an answer"


def write(recordings: Iterable[StoredExchange], out: BinaryIO, context: ExportContext) -> None:
    """Write one line per request that a batch can send."""
    for row, exchange in recordings:
        body = parsed(body_of(exchange.request))
        if row["method"] != "POST" or not body:
            context.notes.skipped[NOT_JSON] += 1
            continue
        sent = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
        line: dict[str, Any] = {"custom_id": row["id"], "method": "POST", "url": exchange.request.target, "body": sent}
        answer = folded(row["path"], exchange.response)
        if answer is None:
            context.notes.left_out[NOT_WHOLE] += 1
        else:
            if row["stream"]:
                context.notes.estimated[FOLDED] += 1
            request_id = get(exchange.response.headers, "x-request-id")
            line["response"] = {"status_code": row["status"], "request_id": request_id, "body": answer}
        out.write(orjson.dumps(line) + b"\n")


def read(source: SourceFile, notes: Notes) -> Iterator[ImportedExchange]:
    """Read the lines that have a request and an answer."""
    for number, value in source.json_lines():
        with located(source.error, f"line {number}"):
            answer = value.get("response")
            if not isinstance(value.get("body"), dict) or not isinstance(answer, dict):
                notes.skipped[NO_ANSWER] += 1
                continue
            yield ImportedExchange(_exchange(value, answer, source.modified_at + number), Beat.NONE)


def _exchange(value: Mapping[str, Any], answer: Mapping[str, Any], at: int) -> Exchange:
    request = json_request(object_in(value, "body"), target_of(text_in(value, "url")))
    response = whole_answer(status_in(answer, "status_code"), JSON_FIELDS, json_bytes(answer.get("body")))
    return Exchange(request, response, at)


def recognises(source: SourceFile) -> bool:
    """Whether the first line is a request of a batch with its answer."""
    value = source.first_value
    return isinstance(value, dict) and "custom_id" in value and isinstance(value.get("response"), dict)


OPENAI_BATCH = Format(
    name="openai-batch",
    title="batch file of OpenAI and vLLM",
    keeps={Part.BYTES: Kept.PARTLY, Part.REQUEST: Kept.PARTLY},
    loses="Times, header fields, the text of the JSON (only its values), and that an answer was streamed.",
    suffix=".jsonl",
    write=write,
    read=read,
    recognises=recognises,
)
