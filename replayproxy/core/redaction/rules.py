"""What the user says is secret: `header:NAME`, `$.json.path`, `re:REGEX`, or `@FILE` with one rule a line.

header:x-request-id     the field is not stored, neither of requests nor of answers
$.metadata.email        the value there is masked, in requests, in answers and in the data of events (RFC 9535)
re:cust-[0-9]{6}        what matches is masked; in JSON it is looked for within strings
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from replayproxy.core.identity import canonical
from replayproxy.core.paths import Path
from replayproxy.core.patterns import Pattern, Refused
from replayproxy.errors import SettingsError

Span = tuple[int, int]

MOST_RULES = 256
"""A cassette brings its own, and each one is looked for in every body."""

# A string that its line does not end is one too: of an answer that was cut it is the last one. To need the quote would
# also be quadratic, in a string with many escaped quotes and no end.
TOKEN = re.compile(rb'"([^"\\\r\n]*+(?:\\.[^"\\\r\n]*+)*+)"?|[{}\[\],:]|[^\s{}\[\],:"]+')


@dataclass(frozen=True, slots=True)
class Value:
    """A scalar in a JSON text: where it stands (a string without its quotes)."""

    start: int
    stop: int
    is_string: bool


class RedactionRules:
    """The rules of one cassette, understood. Raises `SettingsError` for one that makes no sense."""

    def __init__(self, said: Sequence[str]) -> None:
        self.said = tuple(said)
        self.headers: frozenset[str] = frozenset()
        self.patterns: list[Pattern] = []
        self.paths: list[Path] = []
        if len(self.said) > MOST_RULES:
            raise SettingsError(f"there are {len(self.said)} rules of redaction, more than the {MOST_RULES} allowed")
        for rule in self.said:
            self._take(rule)

    def __reduce__(self) -> tuple[type[RedactionRules], tuple[tuple[str, ...]]]:
        """Understood again in the process that gets them."""
        return RedactionRules, (self.said,)

    @property
    def of_bodies(self) -> bool:
        """Whether there is one that may need a whole body to be judged."""
        return bool(self.patterns or self.paths)

    def _take(self, rule: str) -> None:
        if rule.startswith("header:") and rule[7:].strip():
            self.headers |= {rule[7:].strip().lower()}
        elif rule.startswith("re:") and rule[3:]:
            try:
                pattern = Pattern(rule[3:])
            except Refused as reason:
                raise SettingsError(f"--redact {rule!r} {reason}") from reason
            if pattern.matches_nothing():
                raise SettingsError(f"--redact {rule!r} matches where there is nothing: let it need a character")
            self.patterns.append(pattern)
        elif rule.startswith("$"):
            try:
                self.paths.append(Path(rule))
            except Refused as reason:
                raise SettingsError(f"--redact {rule!r} {reason}") from reason
        else:
            raise SettingsError(f"--redact {rule!r} is not a rule: write header:NAME, $.json.path or re:REGEX")

    def values(self, body: bytes) -> Iterator[Value]:
        """The scalars of a JSON text that some path leads to, or leads above."""
        if not self.paths:
            return
        try:
            value = canonical.loads(body)
        except ValueError:
            return
        if not isinstance(value, dict | list):
            return
        wanted = {tuple(match.parts) for path in self.paths for match in path.matches(value)}
        if not wanted:
            return
        sizes = {len(place) for place in wanted}
        for place, scalar in _scalars(body):
            if any(place[:size] in wanted for size in sizes):
                yield scalar


def path_to(body: bytes, at: int) -> str | None:
    """The JSONPath of the scalar that stands there; None where it is no JSON, or in a key."""
    try:
        canonical.loads(body)
    except ValueError:
        return None
    for place, scalar in _scalars(body):
        if scalar.start <= at < scalar.stop:
            return "$" + "".join(f"[{part}]" if isinstance(part, int) else _dotted(part) for part in place)
    return None


def _dotted(name: str) -> str:
    return f".{name}" if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else f"[{name!r}]"


def strings(body: bytes) -> Iterator[Span]:
    """Where the strings of a JSON text stand, keys too, without their quotes."""
    return (match.span(1) for match in TOKEN.finditer(body) if match[1] is not None)


def _scalars(body: bytes) -> Iterator[tuple[tuple[Any, ...], Value]]:
    """Each scalar of a JSON text that is well-formed, with the keys and places that lead to it."""
    place: list[Any] = []
    awaits_key: list[bool] = []
    for match in TOKEN.finditer(body):
        match match[0]:
            case b"{":
                place.append(None)
                awaits_key.append(True)
            case b"[":
                place.append(0)
                awaits_key.append(False)
            case b"}" | b"]":
                place.pop()
                awaits_key.pop()
            case b",":
                if isinstance(place[-1], int):
                    place[-1] += 1
                else:
                    awaits_key[-1] = True
            case b":":
                awaits_key[-1] = False
            case token:
                if awaits_key and awaits_key[-1]:
                    place[-1] = canonical.loads(token)
                elif match[1] is not None:
                    yield tuple(place), Value(*match.span(1), is_string=True)
                else:
                    yield tuple(place), Value(*match.span(), is_string=False)
