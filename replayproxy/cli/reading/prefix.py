"""Ids as people type them: the first digits of an exchange's digest, as few as say which one."""

from __future__ import annotations

import re

from replayproxy.cassette.cassette import Cassette
from replayproxy.errors import SettingsError
from replayproxy.views.units import count

SHORT = 8
"""Digits that are shown."""

_DIGITS = re.compile(r"[0-9a-fA-F]{1,16}")


def resolve(cassette: Cassette, prefix: str | None) -> int:
    """The number of the one exchange meant; without a prefix the newest. Raises `SettingsError`."""
    path = cassette.path
    if prefix is None:
        newest = cassette.all("SELECT max(id) FROM exchange WHERE state = 1")[0][0]
        if newest is None:
            raise SettingsError(f"{path} holds no finished exchange yet")
        return int(newest)
    if not _DIGITS.fullmatch(prefix):
        raise SettingsError(f"{prefix!r} is not an id: give the first hex digits of one{_some(cassette)}")
    found = cassette.find(prefix)
    if len(found) == 1:
        return found[0]
    if not found:
        raise SettingsError(f"no exchange on {path} has an id that begins with {prefix}{_nearest(cassette, prefix)}")
    digests = _digests(cassette, found)
    if len(set(digests)) == 1:
        return found[0]  # the same request, bytes and times: whichever is shown is shown
    raise SettingsError(_ambiguous(cassette, prefix, found, digests))


def _digests(cassette: Cassette, numbers: list[int]) -> list[str]:
    return [str(cassette.one("SELECT lower(hex(digest)) FROM exchange WHERE id = ?", number)[0]) for number in numbers]


def _some(cassette: Cassette) -> str:
    """What ids look like here: the newest."""
    newest = cassette.all("SELECT id FROM exchange WHERE digest IS NOT NULL ORDER BY id DESC LIMIT 3")
    ids = ", ".join(dict.fromkeys(digest[:SHORT] for digest in _digests(cassette, [number for (number,) in newest])))
    return f"{f', such as {ids}' if ids else ''}; all: replayproxy ls {cassette.path}"


def _nearest(cassette: Cassette, prefix: str) -> str:
    """Those that share the most of it."""
    for length in range(min(len(prefix), SHORT) - 1, 0, -1):
        if near := cassette.find(prefix[:length]):
            ids = ", ".join(dict.fromkeys(digest[:SHORT] for digest in _digests(cassette, near[:3])))
            return f"; nearest: {ids}. All: replayproxy ls {cassette.path}"
    return f"; all: replayproxy ls {cassette.path}"


def _ambiguous(cassette: Cassette, prefix: str, found: list[int], digests: list[str]) -> str:
    digits = SHORT if len({digest[:SHORT] for digest in digests}) == len(digests) else 16
    lines = [f"{prefix} begins several ids on {cassette.path}; give one more digit:"]
    for number, digest in list(zip(found, digests, strict=True))[:8]:
        row = cassette.row(number)
        lines.append(
            f"  {digest[:digits]}  {row['recorded_at']}  {row['method']} {row['path']}  {row['model'] or ''}".rstrip()
        )
    if len(found) > 8:
        total = cassette.one("SELECT count(*) FROM exchange WHERE lower(hex(digest)) GLOB ?", f"{prefix.lower()}*")[0]
        lines.append(f"  … {count(total - 8)} more")
    return "\n".join(lines)
