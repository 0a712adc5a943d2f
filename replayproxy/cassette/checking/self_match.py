"""Does every recording find itself? Each request is asked again, by the rules on the cassette or by others, and must
get its own answer; requests that are different and yet have one key are told, with what the rules make of no account.

Recorder and player use one function for keys; this shows that they do (aimock#319 was two that had drifted apart).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from replayproxy.cassette.reader import CassetteReader
from replayproxy.core.identity.difference import differences
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.model import Key

EXACT = Matcher(MatchRules("exact"))


@dataclass(frozen=True, slots=True)
class Collision:
    """Recordings of different requests that answer for one another: their ids, and where any differs from the first."""

    ids: tuple[str, ...]
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SelfMatch:
    """What became of it. `lost`: ids of recordings that do not find themselves."""

    recordings: int
    lost: tuple[str, ...]
    collisions: tuple[Collision, ...]


def self_match(path: Path, rules: MatchRules | None = None) -> SelfMatch:
    """Ask a cassette for all it has. Raises `CassetteError` where it cannot be read, `SettingsError` for the rules."""
    with CassetteReader(path) as cassette:
        matcher = Matcher(rules or cassette.rules, cassette.redactor)
        if matcher.rules != cassette.rules:
            cassette.use_rules(matcher)
        by_key: dict[Key, list[tuple[int, str]]] = {}
        lost = []
        recordings = 0
        for number, place, short_id in cassette.places():
            recordings += 1
            found = Key(matcher.key(cassette.request(number)))
            if found != place.key or asyncio.run(cassette.read(place)) != cassette.response(number):
                lost.append(short_id)
            by_key.setdefault(found, []).append((number, short_id))
        return SelfMatch(recordings, tuple(lost), tuple(_collisions(cassette, by_key)))


def _collisions(cassette: CassetteReader, by_key: dict[Key, list[tuple[int, str]]]) -> Iterator[Collision]:
    for group in by_key.values():
        forms: dict[bytes, tuple[int, str]] = {}
        for number, short_id in group if len(group) > 1 else ():
            forms.setdefault(EXACT.form(cassette.request(number)), (number, short_id))
        if len(forms) > 1:
            first, *others = (EXACT.compared(cassette.request(number)) for number, _ in forms.values())
            places = {found.path: None for other in others for found in differences(first, other)}
            yield Collision(tuple(short_id for _, short_id in forms.values()), tuple(places))
