"""Names of cassettes: why a path leads to none, as a sentence with a way out, and names of files that are being made.

Looks at names and kinds of files, never into one.
"""

from __future__ import annotations

from pathlib import Path

SUFFIX = ".cassette"

SHOWN = 3
"""Names of a folder that are suggested."""


def part_beside(path: Path) -> Path:
    """Return an unused name in the same folder, for a file that gets the name `path` when it is whole."""
    import secrets  # loads hashlib and random, which a verb that writes no file need not wait for

    # Not `a.cassette.part`: that may be a file of the user's, and what is left is removed at the end.
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")


def why_unreadable(path: Path) -> str | None:
    """Return why this cannot be opened for reading, or None if it is a file with content."""
    if path.is_dir():
        return f"{path} is a folder: name a cassette{_in(path)}"
    if path.is_file():
        if path.stat().st_size or Path(f"{path}-wal").exists():
            return None
        return f"{path} is empty: nothing was recorded on it; record with `replayproxy record {path} --upstream URL`"
    if path.exists():
        return f"{path} is no file but a device or a pipe: give a file written by `replayproxy record`"
    if not path.parent.is_dir():
        return f"{path} does not exist: there is no folder {path.parent}{_near(path.parent)}"
    near = _near(path)
    return f"{path} does not exist{near or f': record one with `replayproxy record {path} --upstream URL`'}"


def why_unwritable(path: Path) -> str | None:
    """Return why no cassette can be recorded there, or None if that can be tried."""
    if path.is_dir():
        return f"{path} is a folder: name a file in it, such as {path / f'chat{SUFFIX}'}"
    if path.exists() and not path.is_file():
        return f"{path} is no file but a device or a pipe: name a file. Name a file in a folder you may write."
    if not path.parent.is_dir():
        kind = "is no folder" if path.parent.exists() else "does not exist"
        return f"{path} cannot be created: the folder {path.parent} {kind}. Name a file in a folder you may write."
    return None


def _near(path: Path) -> str:
    """Return ` (did you mean …?)` with the closest name in the folder, or nothing."""
    try:
        names = [other.name for other in path.parent.iterdir()]
    except OSError:
        return ""
    if path.suffix != SUFFIX and path.name + SUFFIX in names:
        close = [path.name + SUFFIX]
    else:
        from difflib import get_close_matches

        close = get_close_matches(path.name, names, 1, 0.75)
    return f" (did you mean {path.with_name(close[0])}?)" if close else ""


def _in(folder: Path) -> str:
    try:
        names = sorted(str(path) for path in folder.glob(f"*{SUFFIX}"))
    except OSError:
        names = []
    more = ", …" if len(names) > SHOWN else ""
    return f" in it, such as {', '.join(names[:SHOWN])}{more}" if names else "; there is none in it"
