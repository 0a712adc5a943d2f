"""Latency traces of vllm-vcr, in JSON lines: counts and times of tokens as the engine gave them out.

An optional first line `{"meta": …}`, then per request `{prompt_tokens, output_tokens, ttft_ms, itl_ms, itl_tokens,
arrival_ms, output_token_ids, finish_reason}` (neuralmagic/vllm-vcr 0.2.1). They have neither prompts nor texts: the
exchanges are for `stats` and `diff`, and answer no request of a client. Read and written: a latency trace of any
recorded server.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate, pairwise
from typing import Any, BinaryIO

import orjson

from replayproxy.core.dialects.facts import events_at, parsed
from replayproxy.core.dialects.sse import encode
from replayproxy.core.dialects.table import text_in as text_of_event
from replayproxy.formats.bodies import (
    COMPLETIONS,
    STREAM_FIELDS,
    json_bytes,
    json_request,
    located,
    number_in,
    streamed_answer,
)
from replayproxy.formats.format import Beat, ExportContext, Format, ImportedExchange, Kept, Notes, Part, StoredExchange
from replayproxy.formats.request import token_ids
from replayproxy.formats.source import SourceFile
from replayproxy.formats.workload import recorded_ids, work_items
from replayproxy.model import Exchange

MOST_TOKENS = 10_000_000
"""Tokens of one answer."""

NOT_STREAMED = "an answer that was not streamed"


def write(recordings: Iterable[StoredExchange], out: BinaryIO, context: ExportContext) -> None:
    """Write the line with the origin, then one line per streamed answer."""
    out.write(orjson.dumps({"meta": {"source": f"replayproxy {context.version}", "cassette": context.name}}) + b"\n")
    for item in work_items(recordings, context.notes):
        times = [at for at, event in events_at(item.exchange.response) if text_of_event(parsed(event.data.encode()))]
        if not times:
            context.notes.skipped[NOT_STREAMED] += 1
            continue
        row, ids = item.stored.row, recorded_ids(item.exchange).choices.get(0)
        line: dict[str, Any] = {
            "prompt_tokens": item.input_length,
            "cached_tokens": row["cached_tokens"] or 0,
            "output_tokens": item.output_length,
            "ttft_ms": times[0] / 1e6,
            "itl_ms": [(after - before) / 1e6 for before, after in pairwise(times)],
            "arrival_ms": item.at / 1e6,
            "finish_reason": row["finish"] or "stop",
        }
        out.write(orjson.dumps(line | ({"output_token_ids": ids} if ids else {})) + b"\n")


def read(source: SourceFile, notes: Notes) -> Iterator[ImportedExchange]:
    """Read the requests; each gets a prompt that names its line."""
    model = "unknown"
    for number, value in source.json_lines():
        with located(source.error, f"line {number}"):
            if "meta" in value and "ttft_ms" not in value:
                meta = value["meta"]
                model = str(meta.get("model") or model) if isinstance(meta, dict) else model
                continue
            yield ImportedExchange(_exchange(value, model, number, source.modified_at), Beat.EVENTS)


def _exchange(value: Mapping[str, Any], model: str, number: int, modified_at: int) -> Exchange:
    gaps = value.get("itl_ms") or []
    if not isinstance(gaps, list):
        raise ValueError("'itl_ms' is not a list")
    first = round(number_in(value, "ttft_ms") * 1e6)
    times = list(accumulate((round(number_in({"itl_ms": gap}, "itl_ms") * 1e6) for gap in gaps), initial=first))
    output, prompt = (round(number_in(value, name)) for name in ("output_tokens", "prompt_tokens"))
    if output > MOST_TOKENS:
        raise ValueError(f"'output_tokens' is more than {MOST_TOKENS}")
    ids = token_ids(value.get("output_token_ids")) or []
    later = value.get("itl_tokens")
    sizes = [size for size in later if type(size) is int and 0 < size <= MOST_TOKENS] if isinstance(later, list) else []
    sizes = sizes if len(sizes) == len(gaps) else [1] * len(gaps)
    counts = [max(0, output - sum(sizes)), *sizes]
    pieces, start = list[bytes](), 0
    for place, count in enumerate(counts):
        finish = str(value.get("finish_reason") or "stop") if place == len(counts) - 1 else None
        choice = {"index": 0, "text": "", "finish_reason": finish, "token_ids": ids[start : start + count]}
        pieces.append(encode(json_bytes({"object": "text_completion", "model": model, "choices": [choice]})))
        start += count
    usage = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
    end = encode(json_bytes({"model": model, "choices": [], "usage": usage})) + encode(b"[DONE]")
    response = streamed_answer([*pieces, end], [*times, times[-1]], STREAM_FIELDS, head=first)
    body = {"model": model, "prompt": f"vllm-vcr line {number}", "max_tokens": output, "stream": True}
    return Exchange(
        json_request(body, COMPLETIONS), response, modified_at + round(number_in(value, "arrival_ms") * 1e6)
    )


def recognises(source: SourceFile) -> bool:
    """Whether the first line is a request or the meta line of such a trace."""
    value = source.first_value
    if not isinstance(value, dict):
        return False
    return {"ttft_ms", "output_tokens"} <= value.keys() or (set(value) == {"meta"} and b'"ttft_ms"' in source.beginning)


VLLM_VCR = Format(
    name="vllm-vcr",
    title="latency trace of vllm-vcr",
    keeps={Part.TIMES: Kept.PARTLY, Part.ARRIVAL: Kept.YES, Part.TOKENS: Kept.PARTLY},
    loses="Prompts, texts, parameters, header fields. An import answers no request of a client: its prompts"
    " name the lines.",
    suffix=".jsonl",
    write=write,
    read=read,
    recognises=recognises,
)
