"""Parquet, for DuckDB, Spark, Ray, pandas and polars: one row per exchange, with the columns of `v_exchange`.

    v_exchange's columns | recorded_at_ns, head_ns, end_ns, chunk_at_ns[], chunk_bytes[] | heads, bodies, legs

The names are those of the view, so that a query runs on SQLite and on DuckDB. With the bodies nothing is lost: `import`
makes the same exchanges of the file, by digest. The metadata `replayproxy` of the file has the rules of the cassette.
Needs pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import orjson

from replayproxy.formats.bodies import located
from replayproxy.formats.format import (
    Beat,
    CassetteOrigin,
    ExportContext,
    Format,
    ImportedExchange,
    Kept,
    Notes,
    Part,
    StoredExchange,
    missing_extra,
)
from replayproxy.formats.jsonl import check_heading, exchange_of, heading, leg_object, origin_of
from replayproxy.formats.source import SourceFile
from replayproxy.model import Exchange

if TYPE_CHECKING:
    import pyarrow as pa

NAME, VERSION = "replayproxy-parquet", 1

ROWS_AT_ONCE = 1000
"""Rows that are held while writing."""

BYTES_AT_ONCE = 64 * 1024 * 1024
"""Bytes of bodies that are held while writing; the size of a row group that readers like."""

MOST_GROUP_BYTES = 1024 * 1024 * 1024
"""Bytes of one row group, uncompressed, that are read: ours have 64 MiB."""

MAGIC = b"PAR1"


def _arrow() -> Any:
    try:
        import pyarrow
    except ModuleNotFoundError as error:
        raise missing_extra("parquet", "pyarrow", "parquet") from error
    return pyarrow


# The schema


def schema(*, with_bodies: bool = True) -> pa.Schema:
    """The columns, in their order. Raises `MissingExtra`."""
    pa = _arrow()
    word = pa.dictionary(pa.int32(), pa.string())
    fields = pa.list_(pa.struct([("name", pa.string()), ("value", pa.string())]))
    columns: list[tuple[str, Any]] = [
        *[("number", pa.int64()), ("id", pa.string()), ("key", pa.string()), ("occurrence", pa.int64())],
        *[("recorded_at", pa.timestamp("us", "UTC")), ("method", word), ("path", word), ("model", word)],
        *[("stream", pa.bool_()), ("status", pa.int32()), ("state", word), ("ending", word)],
        *[(name, pa.bool_()) for name in ("client_left", "request_cut", "opaque")],
        *[("scope", word), ("request_size", pa.int64()), ("response_size", pa.int64()), ("chunks", pa.int64())],
        *[(name, pa.float64()) for name in ("ttft_s", "total_s", "tpot_s")],
        *[(name, pa.int64()) for name in ("prompt_tokens", "completion_tokens", "cached_tokens")],
        *[("finish", word), ("stalled", pa.int64()), ("starved_s", pa.float64()), ("transfer", pa.string())],
        *[("legs", pa.int64()), ("recorded_at_ns", pa.int64()), ("starved_ns", pa.int64())],
        *[("head_ns", pa.int64()), ("end_ns", pa.int64())],
        *[("chunk_at_ns", pa.list_(pa.int64())), ("chunk_bytes", pa.list_(pa.int32()))],
        *[("chunk_continued", pa.list_(pa.int32())), ("target", pa.string())],
    ]
    if with_bodies:
        columns += [
            *[("request_headers", fields), ("request_body", pa.binary())],
            *[("response_headers", fields), ("response_body", pa.binary()), ("leg_objects", pa.string())],
        ]
    return pa.schema(columns)


def values_of(stored: StoredExchange, *, with_bodies: bool = True) -> dict[str, Any]:
    """One row, by the names of the columns."""
    row, exchange = stored
    response = exchange.response
    values: dict[str, Any] = {
        **row,
        "recorded_at": exchange.recorded_at // 1000,
        **{name: bool(row[name]) for name in ("stream", "client_left", "request_cut", "opaque")},
        "recorded_at_ns": exchange.recorded_at,
        "starved_ns": exchange.starved,
        "head_ns": response.timeline.head,
        "end_ns": response.timeline.end,
        "chunk_at_ns": list(response.timeline.chunks),
        "chunk_bytes": list(response.cuts),
        "chunk_continued": list(response.continued),
        "target": exchange.request.target,
    }
    if with_bodies:
        values |= {
            "request_headers": [{"name": name, "value": value} for name, value in exchange.request.headers],
            "request_body": exchange.request.body,
            "response_headers": [{"name": name, "value": value} for name, value in response.headers],
            "response_body": response.body,
            "leg_objects": orjson.dumps([leg_object(leg) for leg in exchange.legs]).decode() if exchange.legs else None,
        }
    return values


def table_of(recordings: Iterable[StoredExchange], *, with_bodies: bool = False) -> pa.Table:
    """All of it as one table of Arrow. Raises `MissingExtra`."""
    pa, columns = _arrow(), schema(with_bodies=with_bodies)
    batches = [_batch(rows, columns, with_bodies=with_bodies) for rows in _groups(recordings)]
    return pa.Table.from_batches(batches, columns)


def _batch(rows: Sequence[StoredExchange], columns: pa.Schema, *, with_bodies: bool) -> pa.RecordBatch:
    pa = _arrow()
    return pa.RecordBatch.from_pylist([values_of(row, with_bodies=with_bodies) for row in rows], columns)


def _groups(recordings: Iterable[StoredExchange]) -> Iterator[list[StoredExchange]]:
    """Rows that are held together: not too many, and not too large."""
    held, size = list[StoredExchange](), 0
    for stored in recordings:
        held.append(stored)
        size += len(stored.exchange.request.body) + len(stored.exchange.response.body)
        if len(held) >= ROWS_AT_ONCE or size >= BYTES_AT_ONCE:
            yield held
            held, size = [], 0
    if held:
        yield held


# Writing


def write(recordings: Iterable[StoredExchange], out: BinaryIO, context: ExportContext) -> None:
    """Write the file; without `with_bodies` it is for analysis, and cannot be imported."""
    _arrow()
    import pyarrow.parquet as pq

    head = heading(context.origin, context.version) | {"format": NAME, "version": VERSION}
    columns = schema(with_bodies=context.with_bodies).with_metadata({"replayproxy": orjson.dumps(head)})
    with pq.ParquetWriter(out, columns, compression="zstd") as writer:
        for rows in _groups(recordings):
            writer.write_batch(_batch(rows, columns, with_bodies=context.with_bodies))


# Reading


def read(source: SourceFile, notes: Notes) -> Iterator[ImportedExchange]:
    """Read the rows. Raises `UnreadableSource` for a file without bodies."""
    pa = _arrow()
    import pyarrow.parquet as pq

    with source.opened() as stream, _explained(source, pa):
        file = pq.ParquetFile(stream)
        missing = {"request_body", "response_body", "recorded_at_ns", "chunk_at_ns"} - set(file.schema_arrow.names)
        if missing:
            raise source.error(f"it has no column {', '.join(sorted(missing))}: it is no lossless export of a cassette")
        for group in range(file.num_row_groups):
            if file.metadata.row_group(group).total_byte_size > MOST_GROUP_BYTES:
                raise source.error(f"its row group {group} has more than {MOST_GROUP_BYTES} bytes")
        number = 0
        for batch in file.iter_batches(batch_size=64):
            for row in batch.to_pylist():
                number += 1
                with located(source.error, f"row {number}"):
                    yield ImportedExchange(_exchange(row), Beat.CHUNKS)


def _exchange(row: Mapping[str, Any]) -> Exchange:
    """One exchange of a row; the checks are those of `jsonl`."""
    legs = row.get("leg_objects")
    try:
        leg_objects = orjson.loads(legs) if legs else []
    except orjson.JSONDecodeError as error:
        raise ValueError(f"its legs are not JSON ({error})") from error
    return exchange_of(
        {
            **{name: row.get(name) for name in ("recorded_at_ns", "starved_ns", "request_cut", "client_left")},
            "scope": row.get("scope") or "",
            "stalled": row.get("stalled") or 0,
            "request": {
                "method": row.get("method"),
                "target": row.get("target"),
                "headers": row.get("request_headers") or [],
                "body": _bytes(row, "request_body"),
            },
            "response": {
                "status": row.get("status"),
                "headers": row.get("response_headers") or [],
                "body": _bytes(row, "response_body"),
                "ending": row.get("ending"),
                **{name: row.get(name) for name in ("head_ns", "end_ns")},
                "cuts": row.get("chunk_bytes") or [],
                "times_ns": row.get("chunk_at_ns") or [],
                "continued": row.get("chunk_continued") or [],
            },
            "legs": leg_objects,
        }
    )


def _bytes(row: Mapping[str, Any], name: str) -> bytes:
    found = row.get(name)
    if found is not None and not isinstance(found, bytes):
        raise ValueError(f"{name!r} is not binary")
    return found or b""


def origin(source: SourceFile) -> CassetteOrigin:
    """The rules of the cassette that was exported."""
    pa = _arrow()
    import pyarrow.parquet as pq

    with source.opened() as stream, _explained(source, pa):
        found = (pq.read_schema(stream).metadata or {}).get(b"replayproxy")
    if found is None:
        return CassetteOrigin()
    value = source.parsed(found, "its metadata")
    if not isinstance(value, dict):
        raise source.error("its metadata is not an object")
    check_heading(value, source, NAME, VERSION)
    return origin_of(value, source)


@contextmanager
def _explained(source: SourceFile, pa: Any) -> Iterator[None]:
    """Arrow's errors in our words. A damaged file makes it raise `OSError` too."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise source.error(f"it is not Parquet, or damaged ({str(error).splitlines()[0][:200]})") from error


def recognises(source: SourceFile) -> bool:
    """Whether the file begins like Parquet."""
    return source.beginning.startswith(MAGIC)


PARQUET = Format(
    name="parquet",
    title="Apache Parquet",
    keeps=dict.fromkeys(Part, Kept.YES),
    loses="Nothing; with --no-bodies the bodies and the header fields.",
    suffix=".parquet",
    write=write,
    read=read,
    recognises=recognises,
    origin=origin,
    extra="parquet",
    is_own=True,
    is_binary=True,
)
