"""One line of comma-separated values per exchange, for spreadsheets: the columns of `ls --csv`, the last prompt and the
text of the answer."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any, BinaryIO

from replayproxy.core.coding import body_of
from replayproxy.core.dialects.facts import parsed, text_of
from replayproxy.formats.format import ExportContext, Format, Kept, Part, StoredExchange
from replayproxy.formats.request import last_prompt
from replayproxy.views.port import ExchangeRow

COLUMNS = (*ExchangeRow.__annotations__, "prompt", "answer")

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet runs as a formula: recorded text may begin so on purpose (OWASP, CSV injection)."""

LONGEST_CELL = 32_767
"""Characters in a cell that Excel takes; the rest is cut off."""


def write(recordings: Iterable[StoredExchange], out: BinaryIO, context: ExportContext) -> None:
    """Write the line of names, then one line per exchange."""
    text = io.TextIOWrapper(out, "utf-8", newline="", write_through=True)
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    for row, exchange in recordings:
        prompt = last_prompt(parsed(body_of(exchange.request)))
        values: dict[str, Any] = {**row, "prompt": prompt, "answer": text_of(exchange.response)}
        lines.writerow([_cell(values.get(name), context) for name in COLUMNS])
    text.detach()


def _cell(value: object, context: ExportContext) -> str:
    if not isinstance(value, str):
        return "" if value is None else str(value)
    value = value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    if len(value) > LONGEST_CELL:
        context.notes.left_out[f"the end of a text of more than {LONGEST_CELL} characters"] += 1
        value = value[:LONGEST_CELL]
    return f"'{value}" if value.startswith(FORMULA) else value


CSV = Format(
    name="csv",
    title="comma-separated values",
    keeps={Part.TIMES: Kept.PARTLY, Part.REQUEST: Kept.PARTLY, Part.ARRIVAL: Kept.YES},
    loses="Bodies but for the last prompt and the text of the answer; times but for TTFT, TPOT and the total. A text"
    " that a spreadsheet would run as a formula gets an apostrophe in front.",
    suffix=".csv",
    write=write,
)
