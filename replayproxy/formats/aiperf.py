"""A workload for AIPerf with the recorded bodies.

    aiperf profile --input-file FILE --custom-dataset-type mooncake_trace --endpoint-type chat --model NAME --url URL

One JSON object per line: `payload` is sent as it is, at `timestamp` (ms since the first request); `session_id` joins
the turns of a conversation. AIPerf 0.13 follows the timestamps if the first line has one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

import orjson

from replayproxy.formats.format import ExportContext, Format, Kept, Part, StoredExchange
from replayproxy.formats.workload import work_items


def write(recordings: Iterable[StoredExchange], out: BinaryIO, context: ExportContext) -> None:
    """Write one line per request that generates text. Later turns also say how long after the turn before they came."""
    for item in work_items(recordings, context.notes):
        line = {
            "session_id": item.session,
            "timestamp": item.at / 1e6,
            "payload": item.body,
            "output_length": item.output_length,
        }
        if item.since_last_turn is not None:
            line["delay"] = item.since_last_turn / 1e6
        out.write(orjson.dumps(line) + b"\n")


AIPERF = Format(
    name="aiperf",
    title="workload for AIPerf",
    keeps={Part.REQUEST: Kept.YES, Part.ARRIVAL: Kept.YES, Part.SESSION: Kept.YES},
    loses="Answers, header fields, and requests to endpoints that generate nothing. AIPerf sends all requests to one"
    " endpoint: export chats and completions apart, with --where.",
    suffix=".jsonl",
    write=write,
)
