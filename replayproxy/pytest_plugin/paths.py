"""The paths of cassettes and the names of scopes, from the names of tests. Opens no file.

cassettes/<module>/<test>.cassette       one per test
cassettes/<module>.cassette              one per module
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
    """The scope of a test: one segment of a URL that needs no escapes, different for each test."""
    return file_name(nodeid.replace("::", ".").replace("/", "."), digest_of=nodeid)


def file_name(name: str, *, digest_of: str | None = None) -> str:
    """A name for files and URLs. Different names stay different: a name that is changed gets a digest.

    `digest_of`: always add the digest of this text.
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "test"
    if plain == name and len(plain) <= LONGEST and digest_of is None:
        return plain
    digest = hashlib.blake2b((digest_of or name).encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{plain[:LONGEST].rstrip('-.')}-{digest}"


def similar_cassettes(target: Path, root: Path) -> list[str]:
    """Cassettes with similar names near one that does not exist."""
    folder = next((folder for folder in (target.parent, *target.parents) if folder.is_dir()), root)
    there = sorted(folder.rglob(f"*{SUFFIX}"))[:1000]
    similar = set(difflib.get_close_matches(target.stem, {path.stem for path in there}, 3))
    names = [relative_name(path, root) for path in there if path.stem in similar]
    return difflib.get_close_matches(relative_name(target, root), names, 3, 0)


def cassettes_below(folders: Iterable[Path], ignored: Sequence[str]) -> Iterator[Path]:
    """Find every cassette of the folders `cassettes` below these, where pytest looks for tests.

    `ignored` are names of folders with wildcards, as `norecursedirs` has them.
    """
    for folder in folders:
        for place, names, _ in os.walk(folder):
            if "cassettes" in names:
                yield from Path(place, "cassettes").rglob(f"*{SUFFIX}")
            names[:] = [
                name
                for name in names
                if name != "cassettes"
                and not any(fnmatch(name, pattern) for pattern in ignored)
                and not Path(place, name, "pyvenv.cfg").exists()
            ]


def relative_name(path: Path, root: Path) -> str:
    """A path as a report names it: relative to the root of the run, if it is below it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
