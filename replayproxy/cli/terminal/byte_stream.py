"""Where the bytes of an export go: unchanged into a pipe or file, made visible on a terminal.

The only way of `export` to stdout: on a terminal, control characters of recorded text become escapes.
"""

from __future__ import annotations

import codecs
import io
from typing import BinaryIO, TextIO, cast

from replayproxy.core.visible import visible_lines


class VisibleBytes(io.RawIOBase):
    """Takes UTF-8 and writes it to a terminal, with control characters made visible."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: object) -> int:
        """Write some bytes, which may end within a character."""
        content = bytes(cast(bytes, data))
        self._terminal.write(visible_lines(self._decoder.decode(content)))
        return len(content)


def byte_stream(stream: TextIO) -> BinaryIO:
    """The stream for the bytes of a writer."""
    if stream.isatty():
        return cast(BinaryIO, VisibleBytes(stream))
    stream.flush()
    return stream.buffer
