"""Find an exchange by the first digits of its id: as many as say which one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from replayproxy.errors import SettingsError
from replayproxy.views.port import Browser, ExchangeId
from replayproxy.views.units import count

SHORT = 8
"""Digits of an id that are shown."""

MOST = 8
"""Exchanges that are listed where a prefix begins several ids."""

_DIGITS = re.compile(r"[0-9a-fA-F]{1,16}")


def resolve(browser: Browser, prefix: str | None) -> int:
    """Return the number of the exchange with this prefix, or of the newest one. Raises `SettingsError`."""
    path = browser.path
    if prefix is None:
        newest = browser.newest()
        if newest is None:
            raise SettingsError(f"{path} holds no finished exchange yet")
        return newest
    if not _DIGITS.fullmatch(prefix):
        raise SettingsError(f"{prefix!r} is not an id: give the first hex digits of one{_examples(browser)}")
    found = browser.find(prefix)
    if len(found) == 1:
        return found[0].number
    if not found:
        raise SettingsError(f"no exchange on {path} has an id that begins with {prefix}{_nearest(browser, prefix)}")
    if len({one.digest for one in found}) == 1:
        return found[0].number  # equal requests, bytes and times: any of them will do
    raise SettingsError(_ambiguous(browser, prefix, found))


def _short(ids: Sequence[ExchangeId]) -> str:
    return ", ".join(dict.fromkeys(one.digest[:SHORT] for one in ids))


def _examples(browser: Browser) -> str:
    """The newest ids, to show what ids look like."""
    ids = _short(browser.newest_ids(3))
    return f"{f', such as {ids}' if ids else ''}; all: replayproxy ls {browser.path}"


def _nearest(browser: Browser, prefix: str) -> str:
    """The ids that share the most digits with it."""
    for length in range(min(len(prefix), SHORT) - 1, 0, -1):
        if near := browser.find(prefix[:length]):
            return f"; nearest: {_short(near[:3])}. All: replayproxy ls {browser.path}"
    return f"; all: replayproxy ls {browser.path}"


def _ambiguous(browser: Browser, prefix: str, found: Sequence[ExchangeId]) -> str:
    digits = SHORT if len({one.digest[:SHORT] for one in found}) == len(found) else 16
    lines = [f"{prefix} begins several ids on {browser.path}; give one more digit:"]
    for one in found[:MOST]:
        row = browser.row(one.number)
        facts = f"{row['recorded_at']}  {row['method']} {row['path']}  {row['model'] or ''}"
        lines.append(f"  {one.digest[:digits]}  {facts}".rstrip())
    if len(found) > MOST:
        lines.append(f"  … {count(browser.count_ids(prefix) - MOST)} more")
    return "\n".join(lines)
