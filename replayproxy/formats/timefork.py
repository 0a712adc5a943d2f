"""Tapes of Timefork 0.3: a folder with an index in SQLite (`tape.db`) and its contents (`objects/`).

Live model calls are read, by time. Requests were taken apart and are put together again; answers are as Timefork's
client read them, after content decoding, with the ms of each chunk. Nothing of the index is trusted: it is opened
without the right to run anything, and its tables are checked to be tables.
"""

from __future__ import annotations

import re
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from replayproxy.formats.bodies import (
    JSON_FIELDS,
    STREAM_FIELDS,
    json_bytes,
    located,
    number_in,
    status_in,
    streamed_answer,
    target_of,
    text_in,
    whole_answer,
)
from replayproxy.formats.format import Beat, Format, ImportedExchange, Kept, Notes, Part
from replayproxy.formats.source import SourceFile
from replayproxy.model import Exchange, Request

INDEX, OBJECTS = "tape.db", "objects"

MARKER = "__timefork_messages__"

ADDRESS = re.compile(r"[0-9a-f]{32}")

MOST_CONTENT = 64 * 1024 * 1024
"""Bytes of one content, unpacked."""

MOST_STEPS = 100_000_000
"""Instructions of SQLite's machine: a query that needs more is an attack."""

REPLAYED, TOOL, NO_PATH = "a call that was replayed", "a call of a tool", "a call whose path was not kept"


def read(source: SourceFile, notes: Notes) -> Iterator[ImportedExchange]:
    """Read the live calls of all runs."""
    folder = source.path if source.path.is_dir() else source.path.parent
    with _opened(source, folder / INDEX) as index:
        for number, row in enumerate(index.execute("SELECT * FROM steps ORDER BY ts, run_id, seq"), 1):
            step = dict(row)
            with located(source.error, f"step {number}"):
                if (why := _why_not(step)) is not None:
                    notes.skipped[why] += 1
                    continue
                yield _exchange(step, folder / OBJECTS, number)


@contextmanager
def _opened(source: SourceFile, path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1", uri=True)) as index:
            index.row_factory = sqlite3.Row
            index.execute("PRAGMA trusted_schema = OFF")
            index.execute("PRAGMA cell_size_check = ON")
            left = [MOST_STEPS // 100_000]
            index.set_progress_handler(lambda: _tick(left), 100_000)
            kind = index.execute("SELECT type FROM sqlite_master WHERE name = 'steps'").fetchone()
            if kind is None or kind[0] != "table":
                raise source.error("there is no table of steps in it")
            yield index
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise source.error(f"its index cannot be read ({error})") from error


def _tick(left: list[int]) -> int:
    left[0] -= 1
    return int(left[0] < 0)


def _why_not(step: Mapping[str, Any]) -> str | None:
    if step.get("kind", "llm") != "llm":
        return TOOL
    if step.get("source") != "live":
        return REPLAYED
    return None if step.get("path") else NO_PATH


def _exchange(step: Mapping[str, Any], objects: Path, number: int) -> ImportedExchange:
    body = _joined(_content(objects, text_in(step, "request_blob")), objects)
    request = Request("POST", target_of(text_in(step, "path")), JSON_FIELDS, body)
    answer, status = _content(objects, text_in(step, "response_blob")), status_in(step, "status", 200)
    latency = round(number_in(step, "latency_ms") * 1e6)
    # Several calls may have one time; it is that of the end.
    at = max(0, round(number_in(step, "ts") * 1e6) * 1000 - latency) + number % 1000
    timing = _timing(step.get("timing"), len(answer))
    if not step.get("stream"):
        return ImportedExchange(Exchange(request, whole_answer(status, JSON_FIELDS, answer, latency), at), Beat.ENDS)
    if timing is None:
        return ImportedExchange(
            Exchange(request, whole_answer(status, STREAM_FIELDS, answer, 0, latency), at), Beat.ENDS
        )
    pieces, start = list[bytes](), 0
    for end, _ in timing:
        pieces.append(answer[start:end])
        start = end
    times = [round(ms * 1e6) for _, ms in timing]
    return ImportedExchange(
        Exchange(request, streamed_answer(pieces, times, STREAM_FIELDS, status, min(times)), at), Beat.CHUNKS
    )


def _timing(text: object, size: int) -> list[tuple[int, float]] | None:
    """The bytes so far and the ms of each chunk; None where they do not describe the answer."""
    if not isinstance(text, str) or not text:
        return None
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    timing = list[tuple[int, float]]()
    for pair in found if isinstance(found, list) else ():
        match pair:
            case [int() as end, int() | float() as ms] if 0 <= end <= size and 0 <= ms < 1e12:
                timing.append((end, ms))
            case _:
                return None
    ends = [end for end, _ in timing]
    return timing if timing and ends == sorted(ends) and ends[-1] == size else None


def _content(objects: Path, address: str) -> bytes:
    """What has this address. Raises `ValueError`; an address that leads elsewhere is not one."""
    if not ADDRESS.fullmatch(address):
        raise ValueError(f"{address[:80]!r} is not an address")
    try:
        packed = (objects / address[:2] / address[2:]).read_bytes()
        unpacking = zlib.decompressobj()
        content = unpacking.decompress(packed, MOST_CONTENT)
    except (OSError, zlib.error) as error:
        raise ValueError(f"the content {address} cannot be read ({error})") from error
    if unpacking.unconsumed_tail or not unpacking.eof:
        raise ValueError(f"the content {address} is too long, or cut off")
    return content


def _joined(body: bytes, objects: Path) -> bytes:
    """A request put together again, as Timefork's clients write JSON."""
    if MARKER.encode() not in body:
        return body
    try:
        value = orjson.loads(body)
        if not isinstance(value, dict) or not isinstance(split := value.pop(MARKER, None), dict):
            return body
        entries = [orjson.loads(_content(objects, str(address))) for address in split.get("addresses") or ()]
    except orjson.JSONDecodeError as error:
        raise ValueError(f"a request is not JSON ({error})") from error
    return json_bytes({**value, str(split.get("field", "messages")): entries})


def is_recording_folder(folder: Path) -> bool:
    """Whether a folder is a tape."""
    return (folder / INDEX).is_file() and (folder / OBJECTS).is_dir()


def recognises(source: SourceFile) -> bool:
    """Whether a file is the index of a tape."""
    return source.path.name == INDEX and is_recording_folder(source.path.parent)


TIMEFORK = Format(
    name="timefork",
    title="Timefork 0.3",
    keeps={Part.TIMES: Kept.YES, Part.BYTES: Kept.PARTLY, Part.REQUEST: Kept.PARTLY, Part.ARRIVAL: Kept.PARTLY},
    loses="Header fields, content codings, the method, the ends of HTTP chunks, and the order of the members of"
    " long requests. Times are whole ms.",
    suffix=".db",
    read=read,
    recognises=recognises,
    takes_folder=is_recording_folder,
)
