"""Where a test's cassette lies, and what its scope is called. Computes names; opens nothing.

cassettes/<module>/<test>.cassette       one for each test
cassettes/<module>.cassette              one for each module
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

SUFFIX = ".cassette"
LONGEST = 120
"""Characters of a name; file systems take 255 bytes, and a part and its lock have longer names."""


def cassette_name(layout: str, module: str, test_class: str | None, test: str) -> str:
    """The name of a cassette within its folder."""
    if layout == "module":
        return file_name(module) + SUFFIX
    return f"{file_name(module)}/{file_name(f'{test_class}.{test}' if test_class else test)}{SUFFIX}"


def scope_name(nodeid: str) -> str:
    """A scope for a test: one segment of a URL that needs no escapes, and that no other test has."""
    return file_name(nodeid.replace("::", ".").replace("/", "."), known=nodeid, unlike=True)


def file_name(name: str, *, known: str | None = None, unlike: bool = False) -> str:
    """A name of harmless characters. Different names stay different: what was changed gets a digest."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "test"
    if plain == name and len(plain) <= LONGEST and not unlike:
        return plain
    digest = hashlib.blake2b((known or name).encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{plain[:LONGEST].rstrip('-.')}-{digest}"


def similar_cassettes(target: Path, root: Path) -> list[str]:
    """Cassettes with similar names near one that does not exist."""
    folder = next((folder for folder in (target.parent, *target.parents) if folder.is_dir()), root)
    there = sorted(folder.rglob(f"*{SUFFIX}"))[:1000]
    similar = set(difflib.get_close_matches(target.stem, {path.stem for path in there}, 3))
    names = [relative_name(path, root) for path in there if path.stem in similar]
    return difflib.get_close_matches(relative_name(target, root), names, 3, 0)


def cassettes_below(folders: Iterable[Path], passed_over: Sequence[str]) -> Iterator[Path]:
    """Every cassette of a folder `cassettes` below these, wherever pytest looks for tests.

    `passed_over` are names of folders with wildcards, as `norecursedirs` has them.
    """
    for folder in folders:
        for place, names, _ in os.walk(folder):
            if "cassettes" in names:
                yield from Path(place, "cassettes").rglob(f"*{SUFFIX}")
            names[:] = [
                name
                for name in names
                if name != "cassettes"
                and not any(fnmatch(name, pattern) for pattern in passed_over)
                and not Path(place, name, "pyvenv.cfg").exists()
            ]


def relative_name(path: Path, root: Path) -> str:
    """A path as a report names it: from the root of the run, wherever that is."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
