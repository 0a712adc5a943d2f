"""A dataset for vLLM's benchmark: `vllm bench serve --dataset-name custom --dataset-path FILE --skip-chat-template`.

One JSON object per line: `prompt` and `output_tokens` (vLLM 0.32, benchmarks/datasets/datasets.py). Without
--skip-chat-template the prompt becomes the message of a user. For the recorded arrivals use `mooncake` with
--dataset-name timed_trace.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

import orjson

from replayproxy.formats.format import ExportContext, Format, Kept, Part, StoredExchange
from replayproxy.formats.request import last_prompt, messages_of
from replayproxy.formats.workload import work_items

NO_TEXT = "a prompt without text"
ONLY_LAST = "a conversation of which only the last message of the user fits"


def write(recordings: Iterable[StoredExchange], out: BinaryIO, context: ExportContext) -> None:
    """Write one line per request whose prompt is text: that of a completion, or the last message of a user."""
    for item in work_items(recordings, context.notes):
        prompt = last_prompt(item.body)
        if not prompt:
            context.notes.skipped[NO_TEXT] += 1
            continue
        if len(messages_of(item.body)) > 1:
            context.notes.estimated[ONLY_LAST] += 1
        out.write(orjson.dumps({"prompt": prompt, "output_tokens": item.output_length}) + b"\n")


VLLM_BENCH = Format(
    name="vllm-bench",
    title="custom dataset of `vllm bench serve`",
    keeps={Part.REQUEST: Kept.PARTLY},
    loses="Everything but the prompt (of a chat the last message of the user) and the length of the answer.",
    suffix=".jsonl",
    write=write,
)
