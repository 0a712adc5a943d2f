"""Join the texts of an answer's events: per choice and field one text, with the positions of its parts.

    data: {"choices":[{"index":0,"delta":{"content":"sk-"}}]}      channel (content):  sk-pro…
    data: {"choices":[{"index":0,"delta":{"content":"pro"}}]}                          └┬┘└┬┘

The bytes between the texts are called the envelope; in a token stream it is the same from event to event. This module
knows the fields in which the dialects stream text. It does not know what a secret is.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum, auto
from functools import cache, cached_property
from itertools import accumulate, pairwise

from replayproxy.core.redaction import rules

Fragment = tuple[bytes, int, int]
"""Name of a field, and the span of its content."""

Channel = tuple[bytes, ...]
"""Identifies one joined text: the indexes in an event, the name of the field, and its number among fields of that
name."""

_STREAMS = ("text/event-stream", "ndjson", "jsonl", "json-seq", "stream+json")

_TEXT_FIELDS = (
    *(b"content", b"reasoning", b"reasoning_content", b"text", b"arguments", b"delta", b"thinking", b"partial_json"),
    *(b"refusal", b"transcript", b"output", b"output_text", b"generated_text", b"response", b"completion", b"token"),
    *(b"input", b"summary", b"signature"),
)


@cache
def _field_pattern(names: Sequence[bytes]) -> re.Pattern[bytes]:
    """Return a pattern for a field with one of these names and its text, which has no end in an answer that was cut."""
    return re.compile(b'"(' + b"|".join(names) + rb')"\s*:\s*"([^"\\]*(?:\\.[^"\\]*)*)')


@cache
def _splitting_pattern(name: bytes) -> re.Pattern[bytes]:
    """Return the same for one name. It begins with a literal word, which `re` finds faster."""
    return re.compile(b'("' + name + rb'"\s*:\s*")([^"\\]*(?:\\.[^"\\]*)*)')


_FRAGMENT = _field_pattern(_TEXT_FIELDS)
_SECOND_INDEX = re.compile(rb'index"\s*:\s*[1-9]')
_INDEX = re.compile(rb'index"\s*:\s*(\d+)')

_LOGPROBS = re.compile(rb'"(?:prompt_)?logprobs"\s*:\s*[\[{]')
_NUMBER_LISTS = re.compile(rb'"(?:bytes|token_ids|prompt_token_ids|tokens)"\s*:\s*\[([\d,\s]*)\]')
_LOGPROB_KEYS = frozenset(
    {b"token", b"logprob", b"bytes", b"top_logprobs", b"content", b"refusal", b"tokens", b"token_logprobs"}
    | {b"text_offset", b"rank", b"decoded_token"}
)


class Format(Enum):
    """What a body is: it decides how secrets are searched in it and where it may be cut."""

    TEXT = auto()
    JSON = auto()
    JSON_LIST = auto()
    EVENTS = auto()

    @property
    def comes_in_parts(self) -> bool:
        """Whether each line or list item is an event that continues the texts of earlier ones."""
        return self in (Format.JSON_LIST, Format.EVENTS)

    @classmethod
    def declared(cls, media_type: str) -> Format:
        """Return the format that a content type declares."""
        if any(kind in media_type for kind in _STREAMS):
            return cls.EVENTS
        return cls.JSON if "json" in media_type else cls.TEXT

    def seen_from(self, start_of_body: bytes) -> Format:
        """Return the format of a body that starts with these bytes, whatever its content type declared.

        Gemini streams one JSON list, in which each object is an event.
        """
        if self is Format.EVENTS or start_of_body.startswith((b"data:", b"event:")):
            return Format.EVENTS
        if start_of_body.startswith(b"["):
            return Format.JSON_LIST
        return Format.JSON if start_of_body.startswith(b"{") else self


class ScatteredText:
    """A text whose parts are at several positions of a larger text."""

    def __init__(self, whole: bytes, spans: Sequence[tuple[int, int]]) -> None:
        self.text = b"".join([whole[start:stop] for start, stop in spans])
        self._spans = spans

    @cached_property
    def _offsets(self) -> list[int]:
        return list(accumulate((stop - start for start, stop in self._spans), initial=0))

    def position_in_whole(self, position: int) -> int:
        """Return where in the whole a byte of this text is."""
        index = max(0, min(bisect_right(self._offsets, position) - 1, len(self._spans) - 1))
        return self._spans[index][0] + position - self._offsets[index]

    def split_mask(self, start: int, mask: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the parts of a mask of this text at `start`, each with its position in the whole."""
        stop = start + len(mask)
        index = max(0, bisect_right(self._offsets, start) - 1)
        while start < stop:
            size = min(stop, self._offsets[index + 1]) - start
            if size > 0:
                yield self._spans[index][0] + start - self._offsets[index], mask[:size]
                mask, start = mask[size:], start + size
            index += 1


class _EveryThird(ScatteredText):
    """The joined third parts of a split. Their positions are computed on first use, which is rare."""

    def __init__(self, parts: list[bytes]) -> None:
        self.text = b"".join(parts[2::3])
        self._parts = parts

    @cached_property
    def _spans(self) -> Sequence[tuple[int, int]]:  # type: ignore[override]  # of Pieces: an attribute
        return list(pairwise(accumulate(map(len, self._parts))))[1::3]


class TextFields:
    """Tracks in which fields one answer streams text.

    To search for all field names costs 1.7 us per event. An answer uses one or two of them, and its envelopes hardly
    change, so only these are searched until an unknown envelope appears.
    """

    def __init__(self) -> None:
        self._field_names: tuple[bytes, ...] = (b"content",)  # of a chat
        self._interleaved = False
        self._cached_envelopes = b""
        self.envelopes = b""
        """The distinct envelopes of the last data, joined."""

    def channels(self, data: bytes) -> dict[Channel, ScatteredText]:
        """Return the joined texts. In interleaved answers, events with equal indexes continue the same text."""
        if len(self._field_names) == 1:
            parts = _splitting_pattern(self._field_names[0]).split(data)
            if self._has_no_other_field(_distinct(parts[::3]), has_text=len(parts) > 1):
                if not self._interleaved:
                    return {self._field_names: _EveryThird(parts)} if len(parts) > 1 else {}
                return _by_index(data, self._fragments(data))
        found = self._fragments(data)
        if not self._has_no_other_field(_envelopes_of(data, found), has_text=bool(found)):
            self._field_names = tuple(sorted({match[1] for match in _FRAGMENT.finditer(data)}.union(self._field_names)))
            found = self._fragments(data)
            self._has_no_other_field(_envelopes_of(data, found), has_text=bool(found))
        return _by_index(data, found) if self._interleaved else _by_name(data, found)

    def _fragments(self, data: bytes) -> list[Fragment]:
        """Return the text fields of each event, in order."""
        return [(match[1], *match.span(2)) for match in _field_pattern(self._field_names).finditer(data)]

    def _has_no_other_field(self, envelopes: Iterable[bytes], *, has_text: bool) -> bool:
        """Return whether no other field has text in these envelopes. Known envelopes are not searched again."""
        self.envelopes = b"\n".join(envelopes)
        if self.envelopes == self._cached_envelopes:
            return True
        self._interleaved = self._interleaved or (has_text and _SECOND_INDEX.search(self.envelopes) is not None)
        if any(match[1] not in self._field_names for match in _FRAGMENT.finditer(self.envelopes)):
            return False
        self._cached_envelopes = self.envelopes
        return True


def _distinct(parts: list[bytes]) -> list[bytes]:
    """Return each envelope once. The first and last differ from the others, which are mostly equal."""
    middle = parts[1:-1]
    if len(middle) > 1 and middle.count(middle[0]) == len(middle):
        return [parts[0], middle[0], parts[-1]]
    return list(dict.fromkeys(parts))


def _envelopes_of(data: bytes, found: list[Fragment]) -> Iterable[bytes]:
    starts = [start for _, start, _ in found]
    stops = [stop for _, _, stop in found]
    return dict.fromkeys([data[stop:start] for stop, start in zip((0, *stops), (*starts, None), strict=True)])


def _by_name(data: bytes, found: list[Fragment]) -> dict[Channel, ScatteredText]:
    spans: dict[Channel, list[tuple[int, int]]] = {}
    for name, start, stop in found:
        spans.setdefault((name,), []).append((start, stop))
    return {channel: ScatteredText(data, places) for channel, places in spans.items()}


def _by_index(data: bytes, found: list[Fragment]) -> dict[Channel, ScatteredText]:
    spans: dict[Channel, list[tuple[int, int]]] = {}
    line_end = -1
    indexes: tuple[bytes, ...] = ()
    counts: dict[bytes, int] = {}
    for name, start, stop in found:
        if start > line_end:
            line = data.rfind(b"\n", 0, start) + 1
            line_end = data.find(b"\n", stop)
            line_end = len(data) if line_end < 0 else line_end
            indexes = tuple(_INDEX.findall(data, line, line_end))
            counts = {}
        number = counts[name] = counts.get(name, 0) + 1
        spans.setdefault((*indexes, name, b"%d" % number), []).append((start, stop))
    return {channel: ScatteredText(data, places) for channel, places in spans.items()}


def has_logprobs(data: bytes) -> bool:
    """Return whether log probabilities repeat the text token by token."""
    return _LOGPROBS.search(data) is not None


def token_masks(document: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield masks for the tokens of log probabilities, their bytes and their token ids."""
    for match in _NUMBER_LISTS.finditer(document):
        yield match.start(1), re.sub(rb"\d", b"1", match[1])
    end = 0
    for opening in _LOGPROBS.finditer(document):
        if opening.start() < end:  # nested in the previous list: already masked
            continue
        depth = 0
        for match in rules.TOKEN.finditer(document, opening.end() - 1):
            end = match.end()
            if match[0] in (b"{", b"["):
                depth += 1
            elif match[0] in (b"}", b"]"):
                depth -= 1
                if depth == 0:
                    break
            elif match[1] and match[1] not in _LOGPROB_KEYS:
                yield match.start(1), b"*" * len(match[1])
