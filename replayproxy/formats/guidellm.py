"""A trace for guidellm: `guidellm run --data kind=mooncake,source=FILE` or `kind=trace_synthetic,source=FILE`.

One JSON object per line: `timestamp` and `duration` in s, `input_length`, `output_length`, and `hash_ids` of 512
tokens. guidellm 0.8 makes prompts of these lengths itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

import orjson

from replayproxy.formats.format import ExportContext, Format, Kept, Part, StoredExchange
from replayproxy.formats.mooncake import hashed


def write(recordings: Iterable[StoredExchange], out: BinaryIO, context: ExportContext) -> None:
    """Write one line per request that generates text."""
    for item, hashes in hashed(recordings, context.notes):
        line = {
            "timestamp": item.at / 1e9,
            "input_length": item.input_length,
            "output_length": item.output_length,
            "duration": item.exchange.response.timeline.end / 1e9,
            "hash_ids": hashes,
        }
        out.write(orjson.dumps(line) + b"\n")


GUIDELLM = Format(
    name="guidellm",
    title="trace for guidellm",
    keeps={Part.TIMES: Kept.PARTLY, Part.ARRIVAL: Kept.YES, Part.TOKENS: Kept.PARTLY},
    loses="Everything but arrivals, lengths, durations and shared beginnings of prompts.",
    suffix=".jsonl",
    write=write,
)
