"""Find the secrets in a text, and replace them with masks of equal length.

A text is searched in up to three readings: as written, with its JSON escapes undone, and with the escapes of JSON
within its strings undone. Masking repeats until a round finds nothing, so that masking twice changes nothing. In JSON
only the content of strings and the digits of numbers are changed: valid JSON stays valid.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from replayproxy.core import coding
from replayproxy.core.patterns import Pattern
from replayproxy.core.redaction import credentials as access
from replayproxy.core.redaction import escapes, key_patterns, masks, rules
from replayproxy.core.redaction.credentials import Credentials

MAX_ROUNDS = 50
"""Limit for the rounds of masking. Ordinary texts need at most three; more are needed only by texts made to attack."""

_MAX_ESCAPE_DEPTH = 2
_TAIL_BYTES = 16 * 1024  # a credential is shorter, even with each byte escaped
_CUT_ESCAPE = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_PROSE = re.compile(
    rb"^(?>(?:(?:data|event|id)?:)?)[ \t]*+((?![\[\]{}\",0-9-]|(?:true|false|null|Infinity|NaN),?[ \t]*\r?$)[^\r\n]+)",
    re.MULTILINE,
)
_ESCAPE = re.compile(rb'\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt])')


class Secret(NamedTuple):
    """A secret in a text: its span in the source, its text with escapes undone, its kind, and the kind of its mask
    (`constant`, `hashed` or `number`)."""

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
    """Finds the credentials of one request, known key formats, and what redaction rules match."""

    credentials: Credentials
    patterns: Sequence[Pattern]
    salt: bytes

    def may_contain_secret(self, text: bytes) -> bool:
        """Return whether a full search is needed. May be true for a text without secrets, never false for one with."""
        return (
            bool(self.patterns)
            or any(needle in text for needle in self.credentials.needles)
            or key_patterns.has_hint(text)
            or (b"\\" in text and self._may_hide_ascii(text))
        )

    def _may_hide_ascii(self, text: bytes) -> bool:
        if b"\0" in text:  # binary: neither JSON nor text
            return False
        if escapes.HIDDEN_ASCII.search(text) is not None:
            return True
        return bool(self.credentials.irregular) and _ESCAPE.search(text) is not None

    def incomplete_from(self, text: bytes) -> int:
        """Return where a secret may begin whose end has not arrived, or the length of the text."""
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
        """Return the secrets of a text in order, without overlaps. In JSON only those that can be masked safely.

        `in_string`: the text is the content of one JSON string.
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
        """Yield the secrets of one reading of a text, outside masks."""
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
        """Return what the patterns match within the strings of a JSON text."""
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
        """Return what the patterns match in lines that are not JSON, in an answer declared as JSON: a mask can break
        nothing there."""
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
        """Return the mask of a secret."""
        size = secret.stop - secret.start
        match secret.mask:
            case "constant":
                return masks.constant(size)
            case "number":
                return masks.number(size)
            case _:
                return masks.hashed(size, secret.secret, self.salt)

    def mask(self, text: bytes, *, json: bool, find: Callable[[bytes], list[Secret]] | None = None) -> bytes:
        """Return the text with its secrets masked."""
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

    def mask_opaque(self, body: bytes) -> bytes:
        """Mask the secrets that appear literally in bytes whose coding cannot be undone.

        Text under a wrong coding name is masked as text. In binary data only credentials and known keys are masked.
        """
        if coding.is_text(body):
            return self.mask(body, json=body.lstrip()[:1] in (b"{", b"[", b'"'))
        # A rule such as `re:[0-9]{4}` would match compressed bytes by chance and damage a body that clients can decode.
        return replace(self, patterns=()).mask(body, json=False)


def overwrite(text: bytes, changes: Iterable[tuple[int, bytes]]) -> bytes:
    """Return the text with some bytes overwritten; each change is a position and its new bytes."""
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
    """Yield the spans between masks: a mask and its neighbours are never one secret."""
    last = 0
    if masks.may_contain_mask(text):
        for match in masks.MASK.finditer(text):
            if match.start() > last:
                yield last, match.start()
            last = match.end()
    if last < len(text):
        yield last, len(text)


def _splits_escape(text: bytes, start: int, stop: int) -> bool:
    r"""Return whether an end of this span lies within an escape: `\\nabc` does not contain `nabc`."""
    if text.find(b"\\", max(0, start - 5), stop) < 0:
        return False
    return any(_is_within_escape(text, position) for position in (start, stop))


def _is_within_escape(text: bytes, position: int) -> bool:
    mark = text.rfind(b"\\", max(0, position - 5), position)
    if mark < 0:
        return False
    before = text[max(0, mark - 64) : mark + 1]
    if (len(before) - len(before.rstrip(b"\\"))) % 2 == 0:
        return False  # the second half of an escaped backslash
    escape = _ESCAPE.match(text, mark)
    return escape is not None and escape.end() > position


def _keep_valid_json(text: bytes, found: list[Secret]) -> list[Secret]:
    """Drop the secrets that are not within one string or one number: a mask across them would break the JSON."""
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
    """Sort and merge overlapping secrets. A credential decides the mask of the merged secret, so that the mask does not
    reveal a hash of it."""
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
