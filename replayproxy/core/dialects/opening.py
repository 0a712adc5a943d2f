"""Read the beginning of an answer while it arrives: when its first content came, and its first words."""

from __future__ import annotations

from collections.abc import Iterable

from replayproxy.core.dialects.facts import parsed
from replayproxy.core.dialects.sse import Decoder
from replayproxy.core.dialects.table import text_in

LONGEST = 60
"""Characters of first words."""

MOST_BYTES = 64 * 1024
"""Of an answer that are looked at: a model that thinks for long says no words for long."""


class Opening:
    """The beginning of one answer, streamed as server-sent events or whole as JSON. Raises nothing."""

    def __init__(self, *, streamed: bool) -> None:
        self._decoder = Decoder() if streamed else None
        self._whole = bytearray()
        self._read = 0
        self._text = ""

    @property
    def is_full(self) -> bool:
        """Whether further bytes change nothing."""
        return len(self._text) >= LONGEST or self._read >= MOST_BYTES

    @property
    def has_content(self) -> bool:
        """Whether there was any content so far."""
        return bool(self._text)

    @property
    def words(self) -> str:
        """The first words on one line, at most `LONGEST` characters."""
        text = self._text
        if self._decoder is None and not text:
            text = text_in(parsed(bytes(self._whole)))
        return " ".join(text[: 2 * LONGEST].split())[:LONGEST].rstrip()

    def feed(self, data: bytes) -> None:
        """Read the next chunk, without its content coding."""
        if self.is_full:
            return
        data = data[:MOST_BYTES]
        self._read += len(data)
        if self._decoder is None:
            self._whole += data
            return
        for event in self._decoder.feed(data):
            self._text += text_in(parsed(event.data.encode()))


def first_words(chunks: Iterable[bytes], *, streamed: bool) -> str:
    """Return the first words of an answer whose chunks are these, without their content coding."""
    opening = Opening(streamed=streamed)
    for data in chunks:
        if opening.is_full:
            break
        opening.feed(data)
    return opening.words
