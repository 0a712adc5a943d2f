"""Where secrets stand in a text, and the text with masks in their places.

One text is read in up to three spellings: as written, with its JSON escapes undone, and those of the JSON within its
strings. Masking goes on until nothing more is found, so that masking again changes nothing. In JSON nothing but the
content of strings and the digits of numbers is ever touched: what was JSON is JSON afterwards.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from replayproxy.core.patterns import Pattern
from replayproxy.core.redaction import credentials as access
from replayproxy.core.redaction import escapes, key_patterns, masks, rules
from replayproxy.core.redaction.credentials import Credentials

ROUNDS = 50
"""Each masks something that none before did; texts that need more than three were made for it."""

_ESCAPED_TWICE = 2
_TAIL = 16 * 1024  # bytes; a credential with its escapes is shorter
_CUT_ESCAPE = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_PROSE = re.compile(
    rb"^(?>(?:(?:data|event|id)?:)?)[ \t]*+((?![\[\]{}\",0-9-]|(?:true|false|null|Infinity|NaN),?[ \t]*\r?$)[^\r\n]+)",
    re.MULTILINE,
)
_BEHIND_ANY = re.compile(rb'\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt])')


class Found(NamedTuple):
    """A secret: where it is written, what it reads, and what kind it is. `mask` is `constant`, `hashed` or `number`."""

    start: int
    stop: int
    secret: bytes
    kind: str
    mask: str


CREDENTIAL = "credential of the request"
BY_PATTERN = "--redact re:"
BY_PATH = "--redact $"


@dataclass(frozen=True, slots=True)
class Detector:
    """Looks for the credentials of one request, for known shapes, and for what rules say."""

    credentials: Credentials
    patterns: Sequence[Pattern]
    salt: bytes

    def suspects(self, text: bytes) -> bool:
        """Whether a closer look is worth while."""
        return (
            bool(self.patterns)
            or any(needle in text for needle in self.credentials.needles)
            or key_patterns.hinted(text)
            or (b"\\" in text and self._hides(text))
        )

    def _hides(self, text: bytes) -> bool:
        if b"\0" in text:  # neither JSON nor text
            return False
        if escapes.HIDING.search(text) is not None:
            return True
        return bool(self.credentials.odd) and _BEHIND_ANY.search(text) is not None

    def open_at(self, text: bytes) -> int:
        """Where something begins that may yet become a secret; the length of the text where nothing does."""
        start = min(key_patterns.open_at(text), self.credentials.open_at(text))
        if self.credentials.odd and b"\\" in text[-_TAIL:]:
            whole = _CUT_ESCAPE.sub(b"", text)
            offset = max(0, len(whole) - _TAIL)
            read = escapes.of_json(whole[offset:])
            at = self.credentials.open_at(read.text)
            if at < len(read.text):
                start = min(start, offset + read.written(at, at + 1)[0])
        return start

    # Finding

    def find(self, text: bytes, *, json: bool, within: bool = False) -> list[Found]:
        """What stands in this text, in order, nothing overlapping. In JSON only what may be masked there.

        `within`: the text is the content of one string of JSON.
        """
        found: list[Found] = []
        if self.patterns and json:
            found = self._in_strings(text, [(0, len(text))] if within else rules.strings(text))
            found += [] if within else self._in_prose(text)
        written: Callable[[int, int], tuple[int, int]] = _as_is
        read = text
        for depth in range(_ESCAPED_TWICE + 1):
            if depth:
                if b"\\" not in read or not self._hides(read):
                    break
                deeper = escapes.of_json(read)
                written, read = _through(written, deeper), deeper.text
            patterns = () if json else self.patterns
            for start, stop, kind, mask in self._plain(read, patterns):
                if not _splits_escape(read, start, stop):
                    begin, end = written(start, stop)
                    found.append(Found(begin, end, read[start:stop], kind, mask))
        return _joined(found if not json or within else _standing(text, found))

    def _plain(self, text: bytes, patterns: Sequence[Pattern]) -> Iterator[tuple[int, int, str, str]]:
        """What stands in a text as it is, outside masks."""
        keys = key_patterns.hinted(text)
        for start, stop in _between_masks(text):
            for begin, end, needle in self.credentials.runs(text, start, stop):
                yield begin, end, CREDENTIAL, "number" if access.is_number(needle) else "constant"
            if keys:
                for begin, end, kind in key_patterns.find(text, start, stop):
                    yield begin, end, kind, "hashed"
            for pattern in patterns:
                for begin, end in pattern.spans(text, start, stop):
                    if not masks.is_mask(text[begin:end]):
                        yield begin, end, BY_PATTERN, "hashed"

    def _in_strings(self, text: bytes, strings: Iterable[tuple[int, int]]) -> list[Found]:
        """What the patterns match within the strings of a JSON text."""
        found = []
        for start, stop in strings:
            content = escapes.of_json(text[start:stop])
            for begin, end in _between_masks(content.text):
                for pattern in self.patterns:
                    for span in pattern.spans(content.text, begin, end):
                        secret = content.text[slice(*span)]
                        if not masks.is_mask(secret):
                            first, last = content.written(*span)
                            found.append(Found(start + first, start + last, secret, BY_PATTERN, "hashed"))
        return found

    def _in_prose(self, text: bytes) -> list[Found]:
        """What the patterns match in lines that are no JSON, in an answer that said it was: nothing there can break."""
        return [
            Found(*span, text[slice(*span)], BY_PATTERN, "hashed")
            for line in _PROSE.finditer(text)
            for start, stop in _between_masks(text[line.start(1) : line.end(1)])
            for pattern in self.patterns
            for span in pattern.spans(text, line.start(1) + start, line.start(1) + stop)
            if not masks.is_mask(text[slice(*span)])
        ]

    # Masking

    def mask_of(self, one: Found) -> bytes:
        """What comes into its place."""
        size = one.stop - one.start
        match one.mask:
            case "constant":
                return masks.constant(size)
            case "number":
                return masks.number(size)
            case _:
                return masks.hashed(size, one.secret, self.salt)

    def mask(self, text: bytes, *, json: bool, find: Callable[[bytes], list[Found]] | None = None) -> bytes:
        """The text without its secrets."""
        if find is None:
            if not self.suspects(text):
                return text

            def find(text: bytes) -> list[Found]:
                return self.find(text, json=json)

        for _ in range(ROUNDS):
            masked = put(text, ((one.start, self.mask_of(one)) for one in find(text)))
            if masked == text:
                break
            text = masked
        return text


def put(text: bytes, changes: Iterable[tuple[int, bytes]]) -> bytes:
    """A text with other bytes in some places."""
    out: bytearray | None = None
    for start, mask in changes:
        if out is None:
            out = bytearray(text)
        out[start : start + len(mask)] = mask
    return text if out is None else bytes(out)


def _as_is(start: int, stop: int) -> tuple[int, int]:
    return start, stop


def _through(
    outer: Callable[[int, int], tuple[int, int]], inner: escapes.Spelling
) -> Callable[[int, int], tuple[int, int]]:
    return lambda start, stop: outer(*inner.written(start, stop))


def _between_masks(text: bytes) -> Iterator[tuple[int, int]]:
    """The parts of a text that no mask covers: a mask and what stands beside it are never one secret."""
    last = 0
    if masks.may_hold(text):
        for match in masks.MASK.finditer(text):
            if match.start() > last:
                yield last, match.start()
            last = match.end()
    if last < len(text):
        yield last, len(text)


def _splits_escape(text: bytes, start: int, stop: int) -> bool:
    """Whether an escape stands across one of these ends: `\\nabc` is no `nabc`."""
    if text.find(b"\\", max(0, start - 5), stop) < 0:
        return False
    return any(_is_within_escape(text, position) for position in (start, stop))


def _is_within_escape(text: bytes, position: int) -> bool:
    mark = text.rfind(b"\\", max(0, position - 5), position)
    if mark < 0:
        return False
    before = text[max(0, mark - 64) : mark + 1]
    if (len(before) - len(before.rstrip(b"\\"))) % 2 == 0:
        return False  # it is the second one of an escaped backslash
    escape = _BEHIND_ANY.match(text, mark)
    return escape is not None and escape.end() > position


def _standing(text: bytes, found: list[Found]) -> list[Found]:
    """Those that are within one string, or one number: another mask would break the JSON."""
    if all(_stands_alone(one) for one in found):
        return found
    starts: list[int] = []
    stops: list[int] = []
    for start, stop in rules.strings(text):
        starts.append(start)
        stops.append(stop)

    def is_within(one: Found) -> bool:
        place = bisect_right(starts, one.start) - 1
        return place >= 0 and one.stop <= stops[place]

    return [one for one in found if _stands_alone(one) or is_within(one)]


def _stands_alone(one: Found) -> bool:
    return one.kind != CREDENTIAL or access.is_simple(one.secret)


def _joined(found: list[Found]) -> list[Found]:
    """In order, what overlaps as one: a credential wins, so that the mask says nothing of it."""
    found.sort(key=lambda one: (one.start, -one.stop))
    joined: list[Found] = []
    chief: Found | None = None
    secret: list[
        bytes
    ] = []  # put together at the end: to add to a secret each time would take the square of its length
    stop = 0
    for one in found:
        if chief is None or one.start >= stop:
            if chief is not None:
                joined.append(chief._replace(stop=stop, secret=b"".join(secret)))
            chief, stop, secret = one, one.stop, [one.secret]
        elif one.stop > stop or (one.mask != "hashed" and chief.mask == "hashed"):
            if one.mask != "hashed" and chief.mask == "hashed":
                chief = chief._replace(kind=one.kind, mask=one.mask)
            overlap = max(0, one.stop - stop)
            if overlap:
                secret.append(one.secret[len(one.secret) - overlap :])
            stop = max(stop, one.stop)
    if chief is not None:
        joined.append(chief._replace(stop=stop, secret=b"".join(secret)))
    return joined
