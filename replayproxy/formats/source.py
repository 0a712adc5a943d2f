"""A file to import, read within bounds: it may come from anywhere.

Lines and documents above a bound are refused before they are parsed, so that a hostile file costs neither memory nor a
traceback. Knows no format.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson

from replayproxy.errors import ReplayProxyError

BEGINNING = 64 * 1024
"""Bytes by which a format is recognised."""

LONGEST_LINE = 128 * 1024 * 1024
"""Bytes of one line: a request and an answer of 32 MB each, in base64."""

LONGEST_DOCUMENT = 512 * 1024 * 1024
"""Bytes of a file that is parsed as a whole; its values take a few times as much memory."""

MOST_NESTED = 200
"""Levels of lists and objects: what people send to models has a few dozen."""

GZIP = b"\x1f\x8b"


class UnreadableSource(ReplayProxyError):
    """A file that is not in the format in which it was to be read."""


class SourceFile:
    """One file to import. A file in gzip is read as what it contains."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The name of the file, without folders: they are nobody else's business."""
        return self.path.name

    @cached_property
    def modified_at(self) -> int:
        """When the file was last changed, in ns since the Unix epoch: for recordings whose time is not known."""
        with self._explained():
            return self.path.stat().st_mtime_ns

    @cached_property
    def beginning(self) -> bytes:
        """The first bytes."""
        with self.opened() as stream:
            return stream.read(BEGINNING)

    @cached_property
    def first_value(self) -> Any:
        """The JSON value in the first line, or None if it is not JSON or longer than the beginning."""
        line, end, _ = self.beginning.partition(b"\n")
        if not end and len(self.beginning) == BEGINNING:
            return None
        try:
            return orjson.loads(line)
        except orjson.JSONDecodeError:
            return None

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The bytes of the file. Raises `UnreadableSource` where it cannot be read."""
        with self._explained(), self.path.open("rb") as raw:
            magic = raw.read(len(GZIP))
            raw.seek(0)
            if magic != GZIP:
                yield raw
                return
            with gzip.open(raw) as unpacked:
                yield cast(BinaryIO, unpacked)

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """The number and the bytes of each line that is not blank. Raises `UnreadableSource`."""
        with self.opened() as stream:
            number = 0
            while line := stream.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise self.error(f"line {number} is longer than {LONGEST_LINE} bytes")
                if line.strip():
                    yield number, line

    def json_lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The number and the object of each line. Raises `UnreadableSource` where a line is not a JSON object."""
        for number, line in self.lines():
            value = self.parsed(line, f"line {number}")
            if not isinstance(value, dict):
                raise self.error(f"line {number} is not a JSON object")
            yield number, value

    def document(self) -> Any:
        """The whole file as one JSON value. Raises `UnreadableSource`."""
        return self.parsed(self.content(), "it")

    def content(self) -> bytes:
        """The whole file. Raises `UnreadableSource` where it is longer than `LONGEST_DOCUMENT`."""
        with self.opened() as stream:
            content = stream.read(LONGEST_DOCUMENT + 1)
        if len(content) > LONGEST_DOCUMENT:
            raise self.error(f"it is longer than {LONGEST_DOCUMENT} bytes: import it in parts")
        return content

    def parsed(self, text: bytes, what: str) -> Any:
        """A JSON value. `what` says which part of the file it is. Raises `UnreadableSource`."""
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            # orjson refuses halves of surrogate pairs, which JavaScript and Python write: "\ud800".
            if "surrogate" not in str(error):
                raise self.error(f"{what} is not JSON ({error})") from None
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as problem:
                raise self.error(f"{what} is not JSON ({problem})") from None
        if depth_exceeds(value, MOST_NESTED):
            raise self.error(f"{what} is nested deeper than {MOST_NESTED} levels")
        return value

    def error(self, what: str) -> UnreadableSource:
        """The error that names this file."""
        return UnreadableSource(
            f"{self.path} cannot be imported: {what}. Check the file, or name its format with --from."
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise self.error(f"its gzip is damaged ({error})") from error
        except OSError as error:
            raise UnreadableSource(f"{self.path} cannot be read: {error.strerror or error}") from error


def depth_exceeds(value: object, most: int) -> bool:
    """Whether lists and objects are nested deeper than `most` levels. Not recursive."""
    level: list[object] = [value]
    for _ in range(most):
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner += [child for child in item.values() if isinstance(child, dict | list)]
            elif isinstance(item, list):
                inner += [child for child in item if isinstance(child, dict | list)]
        if not inner:
            return False
        level = inner
    return True
