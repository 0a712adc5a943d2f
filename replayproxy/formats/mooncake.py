"""Mooncake's traces: when requests arrived, how long they were, and which beginnings of prompts they share.

One JSON object per line (kvcache-ai/Mooncake, FAST25-release/README.md): `timestamp` in ms since the first request,
`input_length`, `output_length`, and one of `hash_ids` per 512 tokens of the prompt. AIPerf, guidellm, vLLM and Dynamo
read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

import orjson

from replayproxy.formats.format import ExportContext, Format, Kept, Notes, Part, StoredExchange
from replayproxy.formats.request import rendered_prompt
from replayproxy.formats.workload import PrefixHashes, WorkItem, recorded_ids, work_items

TEXT_HASHES = "prefix hashes of texts, because the server returned no token ids"


def write(recordings: Iterable[StoredExchange], out: BinaryIO, context: ExportContext) -> None:
    """Write one line per request that generates text."""
    for item, hashes in hashed(recordings, context.notes):
        line = {
            "timestamp": item.at // 1_000_000,
            "input_length": item.input_length,
            "output_length": item.output_length,
            "hash_ids": hashes,
        }
        out.write(orjson.dumps(line) + b"\n")


def hashed(recordings: Iterable[StoredExchange], notes: Notes) -> Iterator[tuple[WorkItem, list[int]]]:
    """Each request with its prefix hashes: of token ids where these are recorded, else of its text."""
    prefixes = PrefixHashes()
    for item in work_items(recordings, notes):
        ids = recorded_ids(item.exchange).prompt
        if ids is not None and len(ids) == item.input_length:
            yield item, prefixes.of_ids(ids)
        else:
            notes.estimated[TEXT_HASHES] += 1
            yield item, prefixes.of_text(rendered_prompt(item.body), item.input_length)


MOONCAKE = Format(
    name="mooncake",
    title="Mooncake trace",
    keeps={Part.ARRIVAL: Kept.YES, Part.TOKENS: Kept.PARTLY},
    loses="Everything but arrivals in ms, lengths and shared beginnings of prompts.",
    suffix=".jsonl",
    write=write,
)
