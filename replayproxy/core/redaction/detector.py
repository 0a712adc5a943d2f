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

MAX_ROUNDS = 50
"""Each masks something that none before did; texts that need more than three were made for it."""

_MAX_ESCAPE_DEPTH = 2
_TAIL_BYTES = 16 * 1024  # bytes; a credential with its escapes is shorter
_CUT_ESCAPE = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_PROSE = re.compile(
    rb"^(?>(?:(?:data|event|id)?:)?)[ \t]*+((?![\[\]{}\",0-9-]|(?:true|false|null|Infinity|NaN),?[ \t]*\r?$)[^\r\n]+)",
    re.MULTILINE,
)
_ESCAPE = re.compile(rb'\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt])')


class Secret(NamedTuple):
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

    def may_contain_secret(self, text: bytes) -> bool:
        """Whether a closer look is worth while."""
        return (
            bool(self.patterns)
            or any(needle in text for needle in self.credentials.needles)
            or key_patterns.has_hint(text)
            or (b"\\" in text and self._may_hide_ascii(text))
        )

    def _may_hide_ascii(self, text: bytes) -> bool:
        if b"\0" in text:  # neither JSON nor text
            return False
        if escapes.HIDDEN_ASCII.search(text) is not None:
            return True
        return bool(self.credentials.irregular) and _ESCAPE.search(text) is not None

    def incomplete_from(self, text: bytes) -> int:
        """Where something begins that may yet become a secret; the length of the text where nothing does."""
        start = min(key_patterns.incomplete_from(text), self.credentials.incomplete_from(text))
        if self.credentials.irregular and b"\\" in text[-_TAIL_BYTES:]:
            whole = _CUT_ESCAPE.sub(b"", text)
            offset = max(0, len(whole) - _TAIL_BYTES)
            read = escapes.unescape_json(whole[offset:])
            at = self.credentials.incomplete_from(read.text)
            if at < len(read.text):
                start = min(start, offset + read.source_span(at, at + 1)[0])
        return start

    # Finding

    def find(self, text: bytes, *, json: bool, in_string: bool = False) -> list[Secret]:
        """What stands in this text, in order, nothing overlapping. In JSON only what may be masked there.

        `in_string`: the text is the content of one string of JSON.
        """
        found: list[Secret] = []
        if self.patterns and json:
            found = self._match_in_strings(text, [(0, len(text))] if in_string else rules.strings(text))
            found += [] if in_string else self._match_in_prose(text)
        to_source: Callable[[int, int], tuple[int, int]] = _identity
        read = text
        for depth in range(_MAX_ESCAPE_DEPTH + 1):
            if depth:
                if b"\\" not in read or not self._may_hide_ascii(read):
                    break
                deeper = escapes.unescape_json(read)
                to_source, read = _compose(to_source, deeper), deeper.text
            patterns = () if json else self.patterns
            for start, stop, kind, mask in self._find_as_read(read, patterns):
                if not _splits_escape(read, start, stop):
                    begin, end = to_source(start, stop)
                    found.append(Secret(begin, end, read[start:stop], kind, mask))
        return _merge_overlaps(found if not json or in_string else _keep_valid_json(text, found))

    def _find_as_read(self, text: bytes, patterns: Sequence[Pattern]) -> Iterator[tuple[int, int, str, str]]:
        """What stands in a text as it is, outside masks."""
        keys = key_patterns.has_hint(text)
        for start, stop in _between_masks(text):
            for begin, end, needle in self.credentials.occurrences(text, start, stop):
                yield begin, end, CREDENTIAL, "number" if access.is_number(needle) else "constant"
            if keys:
                for begin, end, kind in key_patterns.find(text, start, stop):
                    yield begin, end, kind, "hashed"
            for pattern in patterns:
                for begin, end in pattern.spans(text, start, stop):
                    if not masks.is_mask(text[begin:end]):
                        yield begin, end, BY_PATTERN, "hashed"

    def _match_in_strings(self, text: bytes, strings: Iterable[tuple[int, int]]) -> list[Secret]:
        """What the patterns match within the strings of a JSON text."""
        found = []
        for start, stop in strings:
            content = escapes.unescape_json(text[start:stop])
            for begin, end in _between_masks(content.text):
                for pattern in self.patterns:
                    for span in pattern.spans(content.text, begin, end):
                        secret = content.text[slice(*span)]
                        if not masks.is_mask(secret):
                            first, last = content.source_span(*span)
                            found.append(Secret(start + first, start + last, secret, BY_PATTERN, "hashed"))
        return found

    def _match_in_prose(self, text: bytes) -> list[Secret]:
        """What the patterns match in lines that are no JSON, in an answer that said it was: nothing there can break."""
        return [
            Secret(*span, text[slice(*span)], BY_PATTERN, "hashed")
            for line in _PROSE.finditer(text)
            for start, stop in _between_masks(text[line.start(1) : line.end(1)])
            for pattern in self.patterns
            for span in pattern.spans(text, line.start(1) + start, line.start(1) + stop)
            if not masks.is_mask(text[slice(*span)])
        ]

    # Masking

    def mask_of(self, secret: Secret) -> bytes:
        """What comes into its place."""
        size = secret.stop - secret.start
        match secret.mask:
            case "constant":
                return masks.constant(size)
            case "number":
                return masks.number(size)
            case _:
                return masks.hashed(size, secret.secret, self.salt)

    def mask(self, text: bytes, *, json: bool, find: Callable[[bytes], list[Secret]] | None = None) -> bytes:
        """The text without its secrets."""
        if find is None:
            if not self.may_contain_secret(text):
                return text

            def find(text: bytes) -> list[Secret]:
                return self.find(text, json=json)

        for _ in range(MAX_ROUNDS):
            masked = overwrite(text, ((secret.start, self.mask_of(secret)) for secret in find(text)))
            if masked == text:
                break
            text = masked
        return text


def overwrite(text: bytes, changes: Iterable[tuple[int, bytes]]) -> bytes:
    """A text with other bytes in some places."""
    out: bytearray | None = None
    for start, mask in changes:
        if out is None:
            out = bytearray(text)
        out[start : start + len(mask)] = mask
    return text if out is None else bytes(out)


def _identity(start: int, stop: int) -> tuple[int, int]:
    return start, stop


def _compose(
    outer: Callable[[int, int], tuple[int, int]], inner: escapes.Unescaped
) -> Callable[[int, int], tuple[int, int]]:
    return lambda start, stop: outer(*inner.source_span(start, stop))


def _between_masks(text: bytes) -> Iterator[tuple[int, int]]:
    """The parts of a text that no mask covers: a mask and what stands beside it are never one secret."""
    last = 0
    if masks.may_contain_mask(text):
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
    escape = _ESCAPE.match(text, mark)
    return escape is not None and escape.end() > position


def _keep_valid_json(text: bytes, found: list[Secret]) -> list[Secret]:
    """Those that are within one string, or one number: another mask would break the JSON."""
    if all(_is_safe_anywhere(secret) for secret in found):
        return found
    starts: list[int] = []
    stops: list[int] = []
    for start, stop in rules.strings(text):
        starts.append(start)
        stops.append(stop)

    def is_within(secret: Secret) -> bool:
        place = bisect_right(starts, secret.start) - 1
        return place >= 0 and secret.stop <= stops[place]

    return [secret for secret in found if _is_safe_anywhere(secret) or is_within(secret)]


def _is_safe_anywhere(secret: Secret) -> bool:
    return secret.kind != CREDENTIAL or access.is_simple(secret.secret)


def _merge_overlaps(found: list[Secret]) -> list[Secret]:
    """In order, what overlaps as one: a credential wins, so that the mask says nothing of it."""
    found.sort(key=lambda secret: (secret.start, -secret.stop))
    merged: list[Secret] = []
    current: Secret | None = None
    # Joined once at the end: to extend a secret each time would take the square of its length.
    parts: list[bytes] = []
    stop = 0
    for secret in found:
        if current is None or secret.start >= stop:
            if current is not None:
                merged.append(current._replace(stop=stop, secret=b"".join(parts)))
            current, stop, parts = secret, secret.stop, [secret.secret]
        elif secret.stop > stop or (secret.mask != "hashed" and current.mask == "hashed"):
            if secret.mask != "hashed" and current.mask == "hashed":
                current = current._replace(kind=secret.kind, mask=secret.mask)
            overlap = max(0, secret.stop - stop)
            if overlap:
                parts.append(secret.secret[len(secret.secret) - overlap :])
            stop = max(stop, secret.stop)
    if current is not None:
        merged.append(current._replace(stop=stop, secret=b"".join(parts)))
    return merged
