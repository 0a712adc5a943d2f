"""One cassette of the parts that several workers have recorded. Imported where there is something to merge.

In one process the second of two equal requests is answered with the recording of the first. A worker does not see the
parts of the others, so each may have recorded the request: all but one of these would never be used, and are left out.
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
    """Replace `target` by its parts, in one step; `more`: add them to what it has.

    Returns how many recordings were left out because an earlier part had them. Raises `CassetteError` and
    `SettingsError`; `target` is then as it was.
    """
    repeated = sum(prune(part, numbers).deleted for part, numbers in _repeated(parts) if numbers)
    if more and target.exists():
        merge(target, [target, *parts])
        return repeated
    if len(parts) > 1:
        merge(parts[0], parts)
    parts[0].replace(target)
    return repeated


def _repeated(parts: Sequence[Path]) -> list[tuple[Path, list[int]]]:
    """The exchanges with a key and occurrence that an earlier part has too: by part, their numbers."""
    longest: Counter[str] = Counter()
    found = []
    for part in parts:
        with CassetteReader(part) as cassette:
            places = [(number, place) for number, place, _ in cassette.places()]
        found.append((part, [number for number, place in places if place.occurrence < longest[place.key]]))
        longest |= Counter({place.key: place.occurrence + 1 for _, place in sorted(places, key=itemgetter(1))})
    return found
