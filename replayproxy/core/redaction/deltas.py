"""What the events of an answer say together: for each choice and field one text, in the places where it stands.

    data: {"choices":[{"index":0,"delta":{"content":"sk-"}}]}      channel (content):  sk-pro…
    data: {"choices":[{"index":0,"delta":{"content":"pro"}}]}                          └┬┘└┬┘

Knows the fields in which the dialects give text, piece by piece, and nothing of secrets.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from itertools import accumulate

from replayproxy.core.redaction import rules

Fragment = tuple[bytes, int, int]
"""The name of a field, and where its content stands."""

Channel = tuple[bytes, ...]
"""What is one text: the indexes in an event, the name of the field, and which one of that name it is."""

_NAMES = (
    *(b"content", b"reasoning", b"reasoning_content", b"text", b"arguments", b"delta", b"thinking", b"partial_json"),
    *(b"refusal", b"transcript", b"output", b"output_text", b"generated_text", b"response", b"completion", b"token"),
    *(b"input", b"summary", b"signature"),
)


@cache
def _pattern(names: Sequence[bytes]) -> re.Pattern[bytes]:
    """A field of one of these names, and its text. For one name it begins with a word, which is found quickly."""
    called = b"|".join(names)
    if len(names) == 1:
        return re.compile(b'"' + called + rb'"\s*:\s*"([^"\\]*(?:\\.[^"\\]*)*)"')
    return re.compile(b'"(' + called + rb')"\s*:\s*"([^"\\]*(?:\\.[^"\\]*)*)"')


_FRAGMENT = _pattern(_NAMES)
_MANY = re.compile(rb'index"\s*:\s*[1-9]')
_INDEX = re.compile(rb'index"\s*:\s*(\d+)')

_LOGPROBS = re.compile(rb'"(?:prompt_)?logprobs"\s*:\s*[\[{]')
_NUMBERED = re.compile(rb'"(?:bytes|token_ids|prompt_token_ids|tokens)"\s*:\s*\[([\d,\s]*)\]')
_KEYS = frozenset(
    {b"token", b"logprob", b"bytes", b"top_logprobs", b"content", b"refusal", b"tokens", b"token_logprobs"}
    | {b"text_offset", b"rank", b"decoded_token"}
)


class Pieces:
    """A text that stands in several places of another one."""

    def __init__(self, whole: bytes, spans: Sequence[tuple[int, int]]) -> None:
        self._spans = spans
        self.text = b"".join([whole[start:stop] for start, stop in spans])

    @cached_property
    def _at(self) -> list[int]:
        return list(accumulate((stop - start for start, stop in self._spans), initial=0))

    def place(self, position: int) -> int:
        """Where in the whole a byte of this text stands."""
        index = max(0, min(bisect_right(self._at, position) - 1, len(self._spans) - 1))
        return self._spans[index][0] + position - self._at[index]

    def changes(self, start: int, mask: bytes) -> Iterator[tuple[int, bytes]]:
        """A mask of this text, cut to the places where it stands."""
        stop = start + len(mask)
        index = max(0, bisect_right(self._at, start) - 1)
        while start < stop:
            size = min(stop, self._at[index + 1]) - start
            if size > 0:
                yield self._spans[index][0] + start - self._at[index], mask[:size]
                mask, start = mask[size:], start + size
            index += 1


class Fields:
    """The fields in which one answer gives text. To look for all that there are costs 1.7 us an event; an answer uses
    one or two, and what stands between these is nearly always the same."""

    def __init__(self) -> None:
        self._used: tuple[bytes, ...] = (b"content",)  # of a chat
        self.envelopes = b""
        """What stood between the fragments of the last data, each once."""

    def fragments(self, data: bytes) -> list[Fragment]:
        """What each event adds to a text."""
        found = self._of_used(data)
        self.envelopes = _between(data, found)
        if any(match[1] not in self._used for match in _FRAGMENT.finditer(self.envelopes)):
            found = [(match[1], *match.span(2)) for match in _FRAGMENT.finditer(data)]
            self._used = tuple(sorted({name for name, _, _ in found}.union(self._used)))
            self.envelopes = _between(data, found)
        return found

    def _of_used(self, data: bytes) -> list[Fragment]:
        if len(self._used) == 1:
            (name,) = self._used
            return [(name, *match.span(1)) for match in _pattern(self._used).finditer(data)]
        return [(match[1], *match.span(2)) for match in _pattern(self._used).finditer(data)]


def _between(data: bytes, found: list[Fragment]) -> bytes:
    starts = [start for _, start, _ in found]
    stops = [stop for _, _, stop in found]
    return b"\n".join(
        dict.fromkeys([data[stop:start] for stop, start in zip((0, *stops), (*starts, None), strict=True)])
    )


def is_interleaved(data: bytes) -> bool:
    """Whether there may be several texts of one name: choices, tool calls, items."""
    return _MANY.search(data) is not None


def channels(data: bytes, found: list[Fragment], *, interleaved: bool) -> dict[Channel, Pieces]:
    """The joined texts. Interleaved, events with the same indexes go on with the same text."""
    spans: dict[Channel, list[tuple[int, int]]] = {}
    if interleaved:
        for channel, start, stop in _by_index(data, found):
            spans.setdefault(channel, []).append((start, stop))
    elif len(names := {name for name, _, _ in found}) == 1:
        spans[(names.pop(),)] = [(start, stop) for _, start, stop in found]
    else:
        for name, start, stop in found:
            spans.setdefault((name,), []).append((start, stop))
    return {channel: Pieces(data, places) for channel, places in spans.items()}


def _by_index(data: bytes, found: list[Fragment]) -> Iterator[tuple[Channel, int, int]]:
    line_end = -1
    indexes: tuple[bytes, ...] = ()
    seen: dict[bytes, int] = {}
    for name, start, stop in found:
        if start > line_end:
            line = data.rfind(b"\n", 0, start) + 1
            line_end = data.find(b"\n", stop)
            line_end = len(data) if line_end < 0 else line_end
            indexes = tuple(_INDEX.findall(data, line, line_end))
            seen = {}
        turn = seen[name] = seen.get(name, 0) + 1
        yield (*indexes, name, b"%d" % turn), start, stop


def has_tokens(data: bytes) -> bool:
    """Whether log probabilities say the text once more, token by token."""
    return _LOGPROBS.search(data) is not None


def tokens_masked(document: bytes) -> Iterator[tuple[int, bytes]]:
    """Masks for the tokens of log probabilities, their bytes and their numbers."""
    for match in _NUMBERED.finditer(document):
        yield match.start(1), re.sub(rb"\d", b"1", match[1])
    for opened in _LOGPROBS.finditer(document):
        depth = 0
        for match in rules.TOKEN.finditer(document, opened.end() - 1):
            if match[0] in (b"{", b"["):
                depth += 1
            elif match[0] in (b"}", b"]"):
                depth -= 1
                if depth == 0:
                    break
            elif match[1] and match[1] not in _KEYS:
                yield match.start(1), b"*" * len(match[1])
