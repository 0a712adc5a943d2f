"""Writes the types of the Python API's keywords, replayproxy/api/keywords.py, from the table of settings.

python -m tools.keywords            writes the file; `python -m tools.reference` does so too
"""

from __future__ import annotations

from pathlib import Path

from replayproxy.core.policy import Mode
from replayproxy.setting_kinds import (
    Choice,
    Duration,
    File,
    Flag,
    Json,
    Kind,
    Number,
    Port,
    Rotation,
    Size,
    Speed,
    Text,
    Whole,
)
from replayproxy.setting_table import Setting, of_python

FILE = Path(__file__).parents[1] / "replayproxy" / "api" / "keywords.py"

HEAD = '''\
"""The keywords of `replay`, `record`, `auto` and `simulate`, for type checkers.

Written from the table of settings by `make reference`. Do not edit it. Names and meanings are those of the flags of the
command line, with `_` for `-`. Durations are seconds, or text such as `25s`; sizes are bytes, or text such as `10MiB`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypedDict

AnyPath = str | PathLike[str]
'''


def keywords() -> str:
    """The whole file."""
    return HEAD + "".join(map(_class, Mode))


def _class(mode: Mode) -> str:
    rows = "\n".join(f"    {row.name}: {_type(row)}" for row in of_python(mode.value))
    promise = f'    """The keywords of `{mode.value}`."""'
    return f"\n\nclass {mode.value.capitalize()}Options(TypedDict, total=False):\n{promise}\n\n{rows}\n"


def _type(row: Setting) -> str:
    return f"Sequence[{_type_of(row.kind)}]" if row.is_repeatable else _type_of(row.kind)


def _type_of(kind: Kind) -> str:
    match kind:
        case File():
            return "AnyPath"
        case Flag():
            return "bool"
        case Choice(values):
            words = ", ".join(f'"{value}"' for value in values)
            return f"Literal[{words}]"
        case Number():
            return "float"
        case Whole() | Port(or_off=False):
            return "int"
        case Duration():
            return "float | str"
        case Size():
            return "int | str"
        case Rotation():
            return "str"
        case Speed():
            return 'float | Literal["max"] | None'
        case Port():
            return 'int | Literal["off"] | None'
        case Json():
            return "Mapping[str, Any] | str"
        case Text():
            return "str"
    raise TypeError(f"no type of Python is known for {kind!r}")


def main() -> None:
    """Write the file."""
    FILE.write_text(keywords(), "utf-8")


if __name__ == "__main__":
    main()
