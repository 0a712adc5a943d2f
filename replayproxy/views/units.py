"""Numbers as people read them: `214 ms`, `5.91 s`, `1 842`, `4.1 KiB`. Data formats do not use them.

A measurement of an answer is worth three significant digits. Thousands are separated by a thin space, which `cut` and
`awk` do not take for a blank.
"""

from __future__ import annotations

from datetime import UTC, datetime

THIN = "\u2009"

NOTHING = "-"
"""Printed where there is no value."""


def duration(seconds: float) -> str:
    """Format seconds in the unit in which they are easiest to compare."""
    ms = seconds * 1000
    if abs(ms) < 0.005:
        return "0 ms"
    if abs(ms) < 0.95:
        return f"{ms:.2f} ms"
    if abs(ms) < 99.95:
        return f"{ms:.1f} ms"
    if abs(ms) < 999.5:
        return f"{ms:.0f} ms"
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    if seconds < 999.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{count(round(minutes / 1440))} days"


def count(number: float) -> str:
    """Format a number of things; an average keeps one decimal below 1000."""
    if number % 1 and number < 999.5:
        return f"{number:.1f}"
    return f"{number:,.0f}".replace(",", THIN)


def size(number: float) -> str:
    """Format bytes in binary units."""
    if number < 1024:
        return f"{number:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        number /= 1024
        if number < 1023.95:
            return f"{number:.1f} {unit}"
    return f"{number / 1024:.1f} TiB"


def share(part: float, whole: float) -> str:
    """Format a part of a whole in per cent; `NOTHING` where the whole is 0."""
    return f"{100 * part / whole:.2f} %" if whole else NOTHING


def plural(number: int, one: str, many: str = "") -> str:
    """Format a number with its noun: `1 tool`, `2 tools`."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def moment(ns: int) -> str:
    """Format wall time (ns since the Unix epoch) in UTC: `2026-11-18 09:14:03.118`; `5 ns` where no calendar has it."""
    try:
        at = datetime.fromtimestamp(ns // 1_000_000_000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{ns} ns"
    return f"{at:%Y-%m-%d %H:%M:%S}.{ns // 1_000_000 % 1000:03}"
