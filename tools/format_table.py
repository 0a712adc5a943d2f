"""The table of docs/formats.md: what each format keeps of a recording, and what it loses.

The page itself is written by hand; `make reference` replaces what stands between the two marks.
"""

from __future__ import annotations

from pathlib import Path

from replayproxy.formats.format import Format, Kept, Part
from replayproxy.formats.table import FORMATS

FILE = Path(__file__).parents[1] / "docs" / "formats.md"

BEGIN, END = "<!-- table of formats: begin -->\n", "<!-- table of formats: end -->"

_SIGNS = {Kept.YES: "yes", Kept.PARTLY: "partly", Kept.NO: "-"}


def page() -> str:
    """The whole page with the table as it should be."""
    before, _, rest = FILE.read_text("utf-8").partition(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}"


def table() -> str:
    """The table, and below it a list of what is lost."""
    columns = ["format", "export", "import", *(part.value for part in Part)]
    rows = [columns, ["---"] * len(columns), *map(_row, FORMATS)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    losses = [f"- `{each.name}` ({each.title}): {each.loses}{_extra(each)}" for each in FORMATS]
    return "\n".join([*lines, "", "What each of them loses or changes:", "", *losses]) + "\n"


def _row(each: Format) -> list[str]:
    directions = ["yes" if function is not None else "-" for function in (each.write, each.read)]
    return [f"`{each.name}`", *directions, *(_SIGNS[each.kept(part)] for part in Part)]


def _extra(each: Format) -> str:
    return f" Needs `pip install 'replayproxy[{each.extra}]'`." if each.extra else ""
