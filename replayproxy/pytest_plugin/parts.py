"""One cassette out of what several workers have recorded of it. Imported where there is something to put together.

In one process the second test to ask the same is answered from what was recorded for the first one. Workers do not see
one another's parts, so each may have recorded it: all but one of these would never be asked for, and are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path

from replayproxy.cassette.editing.merge import merge
from replayproxy.cassette.editing.prune import prune
from replayproxy.cassette.reader import CassetteReader


def merge_parts(target: Path, parts: Sequence[Path], *, more: bool) -> int:
    """Make `target` of its parts, in one step; `more`: of what it has, and of them. Gives how many were there twice.

    Raises `CassetteError` and `SettingsError`; `target` is then as it was.
    """
    again = sum(prune(part, numbers).deleted for part, numbers in _again(parts) if numbers)
    if more and target.exists():
        merge(target, [target, *parts])
        return again
    if len(parts) > 1:
        merge(parts[0], parts)
    parts[0].replace(target)
    return again


def _again(parts: Sequence[Path]) -> list[tuple[Path, list[int]]]:
    """What stands at a place where an earlier part has something: by part, the numbers of the exchanges."""
    longest: Counter[str] = Counter()
    found = []
    for part in parts:
        with CassetteReader(part) as cassette:
            places = [(number, place) for number, place, _ in cassette.places()]
        found.append((part, [number for number, place in places if place.occurrence < longest[place.key]]))
        longest |= Counter({place.key: place.occurrence + 1 for _, place in sorted(places, key=itemgetter(1))})
    return found
