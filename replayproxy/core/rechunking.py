"""The same bytes in other chunks: `one-byte`, `one-event`, `joined`, `split-utf8`, `random:SEED`.

A client, a gateway or a parser must not depend on where a read ends. A chunk is due when its last byte was received: no
byte comes earlier than it was recorded. Bodies in a content coding have no events and no characters, so that
`one-event` and `split-utf8` leave them as they are.
"""

from __future__ import annotations

import random
import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import accumulate

from replayproxy.core.coding import is_coded
from replayproxy.core.headers import is_event_stream
from replayproxy.model import RecordingRef, Response

FORMS = ("one-byte", "one-event", "joined", "split-utf8")

MOST_BYTES = 1024 * 1024
"""Bytes of an answer that are sent one by one, or at random sizes: 16 bytes of memory each. What follows keeps its
recorded chunks."""

_BLANK_LINE = re.compile(rb"\r\n\r\n|\r\n\n|\n\r\n|\n\n|\n\r|\r\r")
"""The end of an event (WHATWG HTML 9.2.5): the end of a line, and that of an empty one."""

_CHARACTER = re.compile(rb"[\xc2-\xf4](?=[\x80-\xbf])")
"""The first byte of a character of several, behind which it is cut."""


@dataclass(frozen=True, slots=True)
class Rechunking:
    """One way to cut. `seed` is that of `random`; None for the other forms. Raises `ValueError` for another form."""

    form: str
    seed: int | None = None

    @classmethod
    def parse(cls, text: str) -> Rechunking:
        """Read `one-byte` or `random:7`. Raises `ValueError` with the end of a sentence."""
        form, colon, seed = text.partition(":")
        if form in FORMS and not colon:
            return cls(form)
        if form == "random" and re.fullmatch(r"[0-9]{1,18}", seed):
            return cls(form, int(seed))
        if form == "random":
            raise ValueError(f"{text!r} needs a seed, which is a whole number: write random:7")
        raise ValueError(f"{text!r} is not a way to cut: choose from {', '.join(FORMS)} and random:SEED")

    def apply(self, response: Response, place: RecordingRef) -> Response:
        """The same answer in other chunks. Random sizes follow from the seed, the key and the occurrence."""
        body = response.body
        if not body or (self.form in ("one-event", "split-utf8") and is_coded(response.headers)):
            return response
        recorded = list(accumulate(size for size in response.cuts if size))
        match self.form:
            case "one-byte":
                ends: Iterable[int] = range(1, min(len(body), MOST_BYTES))
            case "one-event":
                ends = _ends_of_events(body) if is_event_stream(response.headers) else ()
            case "joined":
                ends = ()
            case "split-utf8":
                ends = [*recorded, *(found.end() for found in _CHARACTER.finditer(body))]
            case _:
                ends = _random_ends(len(body), f"{self.seed}\0{place.key}\0{place.occurrence}")
        if self.form in ("one-byte", "random") and len(body) > MOST_BYTES:
            ends = [*ends, *(end for end in recorded if end >= MOST_BYTES)]
        return _cut_at(response, sorted({*ends, len(body)}), recorded)


def _ends_of_events(body: bytes) -> list[int]:
    return [found.end() for found in _BLANK_LINE.finditer(body)]


def _random_ends(size: int, draw: str) -> list[int]:
    """Sizes from 1 to 1 023 bytes, each power of two as likely as the next: single bytes, and several events."""
    chance = random.Random(draw)
    ends: list[int] = []
    at = 0
    while at < min(size, MOST_BYTES):
        at += int(2 ** chance.uniform(0, 10))
        if at < size:
            ends.append(at)
    return ends


def _cut_at(response: Response, ends: list[int], recorded: list[int]) -> Response:
    times = [at for size, at in zip(response.cuts, response.timeline.chunks, strict=True) if size]
    # The chunk whose end is not before this one holds the last byte.
    due = tuple(times[bisect_left(recorded, end)] for end in ends)
    cuts = tuple(end - start for start, end in zip([0, *ends], ends, strict=False))
    return replace(response, cuts=cuts, continued=(), timeline=replace(response.timeline, chunks=due))
