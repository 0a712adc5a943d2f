"""A trace in Baseten's Parquet schema, which AIPerf replays: `--custom-dataset-type baseten_trace`.

One row per request that generates text: when it came, its prompt, its answer, both lengths, TTFT, the whole time, its
conversation and prefix hashes of 512 tokens (AIPerf 0.13, dataset/loader/baseten_trace.py). Needs pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, BinaryIO

from replayproxy.core.dialects.facts import text_of
from replayproxy.formats.format import ExportContext, Format, Kept, Part, StoredExchange, missing_extra
from replayproxy.formats.mooncake import hashed
from replayproxy.formats.request import rendered_prompt
from replayproxy.formats.workload import BLOCK, WorkItem
from replayproxy.model import Ending

RENDERED = "a chat, whose messages are written as one prompt without the model's template"

ROWS_AT_ONCE = 500


def write(recordings: Iterable[StoredExchange], out: BinaryIO, context: ExportContext) -> None:
    """Write the file. Raises `MissingExtra` without pyarrow."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise missing_extra("baseten", "pyarrow", "parquet") from error
    columns = pa.schema(
        [
            *[("timestamp_start_unix_ms", pa.int64()), ("prompt", pa.string()), ("input_tokens", pa.int64())],
            *[("output_tokens", pa.int64()), ("provided_session_id", pa.string()), ("block_size", pa.int64())],
            *[("total_hashes", pa.list_(pa.int64())), ("request_canceled", pa.bool_())],
            *[("duration_e2e_ms", pa.int64()), ("duration_ttft_ms", pa.int64()), ("output_text", pa.string())],
        ]
    )
    rows: list[dict[str, Any]] = []
    with pq.ParquetWriter(out, columns, compression="zstd") as writer:
        for item, hashes in hashed(recordings, context.notes):
            if "prompt" not in item.body:
                context.notes.estimated[RENDERED] += 1
            rows.append(_row(item, hashes))
            if len(rows) >= ROWS_AT_ONCE:
                writer.write_batch(pa.RecordBatch.from_pylist(rows, columns))
                rows = []
        if rows:
            writer.write_batch(pa.RecordBatch.from_pylist(rows, columns))


def _row(item: WorkItem, hashes: list[int]) -> dict[str, Any]:
    response, row = item.exchange.response, item.stored.row
    ttft = row["ttft_s"]
    return {
        "timestamp_start_unix_ms": item.exchange.recorded_at // 1_000_000,
        "prompt": rendered_prompt(item.body),
        "input_tokens": item.input_length,
        "output_tokens": item.output_length,
        "provided_session_id": item.session,
        "block_size": BLOCK,
        "total_hashes": hashes,
        "request_canceled": response.ending is Ending.CLIENT_LEFT,
        "duration_e2e_ms": response.timeline.end // 1_000_000,
        "duration_ttft_ms": None if ttft is None else round(ttft * 1000),
        "output_text": text_of(response),
    }


BASETEN = Format(
    name="baseten",
    title="Baseten's trace in Parquet",
    keeps={
        Part.TIMES: Kept.PARTLY,
        Part.REQUEST: Kept.PARTLY,
        Part.ARRIVAL: Kept.YES,
        Part.SESSION: Kept.YES,
        Part.TOKENS: Kept.PARTLY,
    },
    loses="Parameters and header fields; times but for TTFT and the total in ms; messages become one prompt.",
    suffix=".parquet",
    write=write,
    extra="parquet",
    is_binary=True,
)
