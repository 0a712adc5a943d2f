"""Token ids of prompts and answers, one JSON object per choice: for engines and simulators that play tokens.

Those that the server returned (`return_token_ids` of vLLM), with the time at which each came. Where it returned none,
ids are made of the text and marked `approximate`: as many as the server counted, equal pieces of text have equal ids,
and no tokenizer makes text of them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any, BinaryIO

import orjson

from replayproxy.formats.format import ExportContext, Format, Kept, Part, StoredExchange
from replayproxy.formats.request import rendered_prompt
from replayproxy.formats.workload import RecordedIds, WorkItem, recorded_ids, work_items
from replayproxy.views.body import texts_of

APPROXIMATE = "token ids made of texts, because the server returned none"

VOCABULARY = 32_000
"""Ids that are made are less than this: every model of today has as many."""


def write(recordings: Iterable[StoredExchange], out: BinaryIO, context: ExportContext) -> None:
    """Write one line per choice of an answer."""
    for item in work_items(recordings, context.notes):
        lines = list(_lines(item))
        if any(line["approximate"] for line in lines):
            context.notes.estimated[APPROXIMATE] += 1
        out.writelines(orjson.dumps(line) + b"\n" for line in lines)


def _lines(item: WorkItem) -> Iterator[dict[str, Any]]:
    found = recorded_ids(item.exchange)
    texts = {choice.choice: choice.text for choice in texts_of(item.exchange.response)}
    choices = sorted(found.choices.keys() | texts.keys() | found.finish.keys())
    prompt = found.prompt or approximate_ids(rendered_prompt(item.body), item.input_length)
    for choice in choices:
        ids = found.choices.get(choice)
        approximate = ids is None or found.prompt is None
        if ids is None:
            # The server counts the tokens of all choices together.
            ids = approximate_ids(texts.get(choice, ""), max(1, item.output_length // len(choices)))
        yield _line(item, found, choice, prompt, ids, approximate=approximate)


def _line(
    item: WorkItem, found: RecordedIds, choice: int, prompt: list[int], ids: list[int], *, approximate: bool
) -> dict[str, Any]:
    adapter = item.body.get("model")
    return {
        "prompt_token_ids": prompt,
        "token_ids": ids,
        "finish_reason": found.finish.get(choice) or item.stored.row["finish"],
        "stop_reason": found.stop.get(choice),
        "times_s": [at / 1e9 for at in found.times.get(choice, ())],
        "lora": None,
        "mm_hashes": [],
        "approximate": approximate,
        "exchange": item.stored.row["id"],
        "choice": choice,
        "model": adapter if isinstance(adapter, str) else None,
    }


def approximate_ids(text: str, length: int) -> list[int]:
    """So many ids for a text, each of a piece of it; beginnings of equal texts of equal density have equal ids."""
    if length < 1:
        return []
    size = max(1, -(-len(text) // length))
    pieces = [text[start : start + size] for start in range(0, len(text), size)][:length]
    pieces += [""] * (length - len(pieces))
    return [
        int.from_bytes(blake2b(piece.encode("utf-8", "replace"), digest_size=4).digest()) % VOCABULARY
        for piece in pieces
    ]


TOKEN_IDS = Format(
    name="token-ids",
    title="token ids of prompts and answers",
    keeps={Part.TIMES: Kept.PARTLY, Part.TOKENS: Kept.YES},
    loses="Texts, parameters and arrivals. Ids that the server did not return are made of the text and marked.",
    suffix=".jsonl",
    write=write,
)
