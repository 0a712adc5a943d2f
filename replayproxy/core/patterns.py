"""Regular expressions that users and cassettes bring, matched in time proportional to the text.

A cassette comes from strangers, and `(q+)+z` stops a backtracking engine for good. So these run on RE2, which has no
backtracking; what it cannot do in linear time (looking around, referring back) is refused with a sentence. Patterns of
our own stay with `re`: each is short, and a test counts the steps of each one on inputs made against it.

Syntax: https://github.com/google/re2/wiki/Syntax, and Python's `\\Z`, `\\uXXXX` and `{,n}`. In a text, `\\w`, `\\d` and
`\\s` know all of Unicode as in `re`; word boundaries are those of ASCII.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import re2

LONGEST = 1000
"""Characters of a pattern."""

LARGEST = 600
"""Instructions of a compiled pattern: where its automaton does not fit into memory each byte of text costs as many
steps, 30 ns each."""

MEMORY = 2 * 1024 * 1024
"""Bytes that the automaton of one pattern may take."""

MOST_MATCHES = 64 * 1024
"""Matches of one pattern in one text; behind the last of them the rest of the text is one match."""

WINDOW = 1024
"""Bytes that are searched first; four times as many while nothing is found. An engine in linear time is linear for one
match: `q+z|q` looks at all that is left before it gives the first q, and again before the next one."""

_REFUSED = (
    (("(?=", "(?!", "(?<=", "(?<!"), "looks around, which no engine does in linear time: match what stands there too"),
    (("(?P=", "(?P>"), "refers back to a group, which no engine does in linear time: write out what it may be"),
    (("(?>", "++", "*+", "?+", "}+"), "is atomic or possessive: write the plain form, which costs no more here"),
    (("(?x", "(?#"), "has comments or white space that does not count: leave them away"),
)

_TOKEN = re.compile(
    r"\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8}|\\[\s\S]|\[\^?\]?|\]|\{,(?=\d+\})|[^\\\[\]{]+|[\s\S]", re.ASCII
)
"""One part of a pattern as Python spells it. Each alternative is bounded, or one class of characters."""

_ASCII_CLASSES = {"d": "0-9", "w": "0-9A-Za-z_", "s": "\\t\\n\\v\\f\\r "}


class Refused(ValueError):
    """A pattern that cannot be used; the reason completes the sentence "PATTERN …"."""


class Pattern:
    """One pattern for bytes. Raises `Refused`."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._compiled = _compiled(_translated(source, _ASCII_CLASSES).encode(), latin1=True)

    def __reduce__(self) -> tuple[type[Pattern], tuple[str]]:
        """Compiled again in the process that gets it."""
        return Pattern, (self.source,)

    def spans(self, text: bytes, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, int]]:
        """Where it matches, leftmost first, nothing overlapping; places where it matches nothing are left out."""
        return _spans(self._compiled, text, start, len(text) if stop is None else stop)

    def matches_nothing(self) -> bool:
        """Whether it matches where there is nothing."""
        return self._compiled.search(b"") is not None


class TextPattern:
    """One pattern for text. Raises `Refused`."""

    # A text is searched as one byte for each character, so that places need no reckoning: beyond ASCII a byte says only
    # what kind of character it is. A pattern that names characters beyond ASCII is matched in UTF-8.
    def __init__(self, source: str) -> None:
        self.source = source
        self._is_ascii = source.isascii() and not re.search(r"\\[uU]", source)
        classes = _KIND_CLASSES if self._is_ascii else _ASCII_CLASSES
        self._compiled = _compiled(_translated(source, classes).encode("utf-8", "replace"), latin1=self._is_ascii)

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where it matches, leftmost first, nothing overlapping; places where it matches nothing are left out."""
        if text.isascii() or self._is_ascii:
            kinds = text.encode() if text.isascii() else text.translate(_KINDS).encode("latin-1")
            yield from _spans(self._compiled, kinds, 0, len(kinds))
            return
        written = text.encode("utf-8", "replace")
        at = last = 0
        for start, stop in _spans(self._compiled, written, 0, len(written)):
            at += _characters(written, last, start)
            size = _characters(written, start, stop)
            yield at, at + size
            at, last = at + size, stop

    def replaced(self, text: str, placeholder: str) -> str:
        """The text with something else in place of each match."""
        parts: list[str] = []
        last = 0
        for start, stop in self.spans(text):
            parts += (text[last:start], placeholder)
            last = stop
        return "".join(parts) + text[last:] if parts else text

    def is_found(self, text: str, *, whole: bool) -> bool:
        """Whether it matches somewhere, or all of a text."""
        written = text.translate(_KINDS).encode("latin-1") if self._is_ascii else text.encode("utf-8", "replace")
        found = self._compiled.fullmatch(written) if whole else self._compiled.search(written)
        return found is not None


def _characters(written: bytes, start: int, stop: int) -> int:
    return len(written[start:stop].decode("utf-8", "ignore"))


def _spans(compiled: re2._Regexp, text: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    size, count = WINDOW, 0
    while start < stop:
        end = min(stop, start + size)
        found = compiled.search(text, start, end)
        if found is None and end == stop:
            return
        if found is None or found.end() == end < stop:  # it may go on behind the window
            size *= 4
            continue
        first, last = found.span()
        size = WINDOW
        if first == last:
            start = last + 1
            continue
        count += 1
        if count >= MOST_MATCHES:
            yield first, stop
            return
        yield first, last
        start = last


@lru_cache(256)
def _compiled(pattern: bytes, *, latin1: bool) -> re2._Regexp:
    if len(pattern) > 2 * LONGEST:
        raise Refused(f"is longer than {LONGEST} characters: write it shorter, or as several")
    options = re2.Options()
    options.max_mem = MEMORY
    options.log_errors = False
    if latin1:
        options.encoding = re2.Options.Encoding.LATIN1
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        raise Refused(_reason(pattern, error)) from error
    if compiled.programsize > LARGEST:
        raise Refused(
            f"makes {compiled.programsize} instructions, more than the {LARGEST} allowed: use smaller repetitions"
        )
    return compiled


def _reason(pattern: bytes, error: re2.error) -> str:
    message = (
        error.args[0].decode("utf-8", "replace") if error.args and isinstance(error.args[0], bytes) else str(error)
    )
    _, _, what = message.rpartition(": ")
    written = pattern.decode("utf-8", "replace")
    for marks, reason in _REFUSED:
        if (
            any(what.startswith(mark) or (message.startswith("bad repetition") and mark in what) for mark in marks)
            or (what == "(?P" and marks[0] == "(?P=" and "(?P=" in written)
            or (what in ("(?<", "(?P<") and marks[0] == "(?=" and re.search(r"\(\?<[=!]", written))
        ):
            return reason
    if re.fullmatch(r"\\[1-9]", what):
        return _REFUSED[1][1]
    if message.startswith("invalid repetition size"):
        return f"repeats too often ({what}): use at most 1000 repetitions, also where they are nested"
    return f"is not a regular expression: {message}"


def _translated(source: str, classes: dict[str, str]) -> str:
    """A pattern in RE2's spelling. Raises `Refused`."""
    if len(source) > LONGEST:
        raise Refused(f"is longer than {LONGEST} characters: write it shorter, or as several")
    parts: list[str] = []
    in_class = False
    for part in _TOKEN.findall(source):
        letter = part[1:2]
        if part[0] == "\\" and letter in "uU" and len(part) > 2:
            parts.append(f"\\x{{{part[2:].lstrip('0') or '0'}}}")
        elif part[0] == "\\" and letter == "Z" and not in_class:
            parts.append("\\z")
        elif part[0] == "\\" and letter.lower() in "dws" and letter:
            inner = classes[letter.lower()]
            if in_class and letter.isupper():
                if inner != _ASCII_CLASSES[letter.lower()]:
                    raise Refused(f"has {part} in square brackets: put it beside them, as in (?:[…]|{part})")
                parts.append(part)
            else:
                parts.append(inner if in_class else f"[{'^' if letter.isupper() else ''}{inner}]")
        elif part[0] == "[" and in_class:
            parts.append("\\[" + part[1:])
            in_class = not part.endswith("]")
        elif part[0] == "[":
            in_class = True
            parts.append(part.replace("]", "\\]"))
        elif part == "]":
            in_class = False
            parts.append(part)
        else:
            parts.append("{0," if part == "{," and not in_class else part)
    return "".join(parts)


class _Kinds(dict[int, int]):
    """For `str.translate`: beyond ASCII a byte for a letter, a digit, white space and anything else."""

    def __missing__(self, code: int) -> int:
        character = chr(code)
        if code < 128:
            kind = code
        elif character.isspace():
            kind = 0x80
        elif _DECIMAL.fullmatch(character):
            kind = 0x81
        elif character.isalnum():
            kind = 0x82
        else:
            kind = 0x83
        self[code] = kind
        return kind


_DECIMAL = re.compile(r"\d")
_KINDS = _Kinds()
_KIND_CLASSES = {"d": "0-9\\x81", "w": "0-9A-Za-z_\\x81\\x82", "s": "\\t\\n\\v\\f\\r \\x1c-\\x1f\\x80"}
