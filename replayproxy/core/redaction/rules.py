"""Redaction rules of the user: `header:NAME`, `$.json.path`, `re:REGEX`, or `@FILE` with one rule per line.

header:x-request-id     the field is not stored, neither of requests nor of answers
$.metadata.email        the value is masked in requests, in answers and in the data of events (RFC 9535)
re:cust-[0-9]{6}        each match is masked; in JSON only strings are searched
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from replayproxy.core.identity import canonical
from replayproxy.core.paths import Path
from replayproxy.core.patterns import Pattern, Refused
from replayproxy.core.redaction import masks
from replayproxy.errors import SettingsError, setting

Span = tuple[int, int]

MAX_RULES = 256
"""A cassette brings its own rules, and each one is searched in every body."""

# The closing quote is optional: the last string of a cut answer has none. To require it would also be quadratic in a
# string with many escaped quotes and no end.
TOKEN = re.compile(rb'"([^"\\\r\n]*+(?:\\.[^"\\\r\n]*+)*+)"?|[{}\[\],:]|[^\s{}\[\],:"]+')


@dataclass(frozen=True, slots=True)
class Value:
    """A scalar in a JSON text and its span; the span of a string excludes its quotes."""

    start: int
    stop: int
    is_string: bool


class RedactionRules:
    """The parsed rules of one cassette. Raises `SettingsError` for an invalid rule."""

    def __init__(self, source: Sequence[str]) -> None:
        self.source = tuple(source)
        self.headers: frozenset[str] = frozenset()
        self.patterns: list[Pattern] = []
        self.paths: list[Path] = []
        if len(self.source) > MAX_RULES:
            raise SettingsError(f"there are {len(self.source)} rules of redaction, more than the {MAX_RULES} allowed")
        for rule in self.source:
            self._add(rule)

    def __reduce__(self) -> tuple[type[RedactionRules], tuple[tuple[str, ...]]]:
        """Pickle the source only: the receiving process parses it again."""
        return RedactionRules, (self.source,)

    @property
    def needs_whole_body(self) -> bool:
        """Whether a rule can be applied only to a whole body."""
        return bool(self.patterns or self.paths)

    def _add(self, rule: str) -> None:
        if rule.startswith("header:") and rule[7:].strip():
            self.headers |= {rule[7:].strip().lower()}
        elif rule.startswith("re:") and rule[3:]:
            try:
                pattern = Pattern(rule[3:])
            except Refused as reason:
                raise SettingsError(f"{setting('redact', repr(rule))} {reason}") from reason
            if pattern.matches_nothing():
                raise SettingsError(
                    f"{setting('redact', repr(rule))} matches where there is nothing: let it need a character"
                )
            self.patterns.append(pattern)
        elif rule.startswith("$"):
            try:
                self.paths.append(Path(rule))
            except Refused as reason:
                raise SettingsError(f"{setting('redact', repr(rule))} {reason}") from reason
        else:
            raise SettingsError(
                f"{setting('redact', repr(rule))} is not a rule: write header:NAME, $.json.path or re:REGEX"
            )

    def values(self, body: bytes) -> Iterator[Value]:
        """Yield the scalars of a JSON text that a path selects, or whose ancestor a path selects."""
        if not self.paths:
            return
        try:
            value = canonical.loads(body)
        except ValueError:
            return
        if not isinstance(value, dict | list):
            return
        selected = {tuple(match.parts) for rule in self.paths for match in rule.matches(value)}
        if not selected:
            return
        sizes = {len(path) for path in selected}
        for path, scalar in _scalars(body):
            if any(path[:size] in selected for size in sizes):
                yield scalar


def mask_of_value(document: bytes, value: Value, salt: bytes) -> bytes:
    """Return the mask of a JSON scalar: a hash for the content of a string, digits of the same length for others."""
    text = document[value.start : value.stop]
    if not value.is_string:
        return masks.number(len(text))
    return text if masks.is_mask(text) else masks.hashed(len(text), text, salt)


def path_to(body: bytes, at: int) -> str | None:
    """Return the JSONPath of the scalar at a position, or None if the text is not JSON or the position is in a key."""
    try:
        canonical.loads(body)
    except ValueError:
        return None
    for path, scalar in _scalars(body):
        if scalar.start <= at < scalar.stop:
            return "$" + "".join(f"[{part}]" if isinstance(part, int) else _dotted(part) for part in path)
    return None


def _dotted(name: str) -> str:
    return f".{name}" if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else f"[{name!r}]"


def strings(body: bytes) -> Iterator[Span]:
    """Yield the spans of the strings of a JSON text, keys included, without their quotes."""
    return (match.span(1) for match in TOKEN.finditer(body) if match[1] is not None)


def _scalars(body: bytes) -> Iterator[tuple[tuple[Any, ...], Value]]:
    """Yield each scalar of a well-formed JSON text with the keys and indexes that lead to it."""
    path: list[Any] = []
    expects_key: list[bool] = []
    for match in TOKEN.finditer(body):
        match match[0]:
            case b"{":
                path.append(None)
                expects_key.append(True)
            case b"[":
                path.append(0)
                expects_key.append(False)
            case b"}" | b"]":
                path.pop()
                expects_key.pop()
            case b",":
                if isinstance(path[-1], int):
                    path[-1] += 1
                else:
                    expects_key[-1] = True
            case b":":
                expects_key[-1] = False
            case token:
                if expects_key and expects_key[-1]:
                    path[-1] = canonical.loads(token)
                elif match[1] is not None:
                    yield tuple(path), Value(*match.span(1), is_string=True)
                else:
                    yield tuple(path), Value(*match.span(), is_string=False)
