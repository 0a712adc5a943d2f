"""A language as a tree of texts, characters, sequences, choices, repetitions and rules; and random texts of it.

Regular expressions (`regex`) and grammars (`grammar`) become such trees. Pure; the same generator gives the same text.
Every text that is drawn belongs to the language, and is bounded: deep inside, the shortest way out is taken.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

DEEPEST = 30
"""Rules within rules, from which on the shortest way out is taken."""

MOST_REPEATED = 1000
"""Of what a language may require: a longer text is none that a request can want of a simulator."""

LONGEST = 20_000
"""Nodes of one text, from which on the shortest way out is taken."""

MOST_RULES = 500

MORE = 0.6
"""How likely there is one more where any number may follow."""

PRINTABLE = ((0x20, 0x7E),)
NEVER = 10**9
"""The depth of what has no end."""


class BadLanguage(ValueError):
    """It cannot be read, or has no text. The text says why, and continues the name of what was given."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A text."""

    text: str


@dataclass(frozen=True, slots=True)
class Characters:
    """One character out of ranges of code points, both ends included."""

    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Concatenation:
    """One after the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alternation:
    """One of them."""

    options: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """So often; `most` None: any number of times."""

    part: Node
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Rule:
    """What the rule of this name says."""

    name: str


Node = Literal | Characters | Concatenation | Alternation | Repeat | Rule


@dataclass(frozen=True)
class Language:
    """A tree and the rules that it refers to. Raises `BadLanguage` where a rule is missing or nothing has an end."""

    root: Node
    rules: Mapping[str, Node] = field(default_factory=dict)
    depths: dict[str, int] = field(default_factory=dict, compare=False, repr=False)
    """By rule: the fewest rules that a text of it needs."""

    def __post_init__(self) -> None:
        if len(self.rules) > MOST_RULES:
            raise BadLanguage(f"has {len(self.rules)} rules: the simulator follows at most {MOST_RULES}")
        for node in (self.root, *self.rules.values()):
            self._check(node)
        self.depths.update(dict.fromkeys(self.rules, NEVER))
        while True:
            found = {name: min(NEVER, 1 + self._depth(node)) for name, node in self.rules.items()}
            if found == self.depths:
                break
            self.depths.update(found)
        if self._depth(self.root) >= NEVER:
            raise BadLanguage("has no text that ends: give a rule that refers to itself another way out")

    def text(self, draw: random.Random) -> str:
        """A text of it."""
        pieces: list[str] = []
        left = LONGEST
        waiting: list[tuple[Node, int]] = [(self.root, 0)]
        while waiting:
            node, depth = waiting.pop()
            left -= 1
            is_late = depth > DEEPEST or left < 0
            match node:
                case Literal(text):
                    pieces.append(text)
                case Characters(ranges):
                    pieces.append(_character(ranges, draw))
                case Concatenation(parts):
                    waiting += ((part, depth) for part in reversed(parts))
                case Alternation(options):
                    waiting.append((self._shortest(options) if is_late else draw.choice(options), depth))
                case Repeat(part, least, most):
                    times = least
                    while not is_late and (most is None or times < most) and draw.random() < MORE:
                        times += 1
                    waiting += ((part, depth) for _ in range(times))
                case Rule(name):
                    waiting.append((self.rules[name], depth + 1))
        return "".join(pieces)

    def _check(self, node: Node) -> None:
        waiting = [node]
        while waiting:
            match waiting.pop():
                case Concatenation(parts) | Alternation(parts):
                    waiting += parts
                case Repeat(part, least, most):
                    if least > MOST_REPEATED:
                        raise BadLanguage(
                            f"repeats something {least} times: the simulator does at most {MOST_REPEATED}"
                        )
                    if most is not None and most < least:
                        raise BadLanguage(f"repeats something {least} to {most} times: give the smaller number first")
                    waiting.append(part)
                case Rule(name) if name not in self.rules:
                    raise BadLanguage(f"refers to a rule {name!r} that is not there")

    def _depth(self, node: Node) -> int:
        match node:
            case Concatenation(parts):
                return max(map(self._depth, parts), default=0)
            case Alternation(options):
                return min(map(self._depth, options), default=NEVER)
            case Repeat(part, least, _):
                return self._depth(part) if least else 0
            case Rule(name):
                return self.depths[name]
        return 0

    def _shortest(self, options: tuple[Node, ...]) -> Node:
        return min(options, key=self._depth)


def complement(ranges: tuple[tuple[int, int], ...]) -> Characters:
    """One printable character of ASCII that is in none of the ranges; where there is none, a letter of another script.

    Raises `BadLanguage` where nothing is left.
    """
    for alphabet in (range(0x20, 0x7F), range(0xC0, 0x250), (0x0A, 0x09)):
        free = tuple((code, code) for code in alphabet if not any(first <= code <= last for first, last in ranges))
        if free:
            return Characters(free)
    raise BadLanguage("has a class of characters that excludes all of them")


def _character(ranges: tuple[tuple[int, int], ...], draw: random.Random) -> str:
    number = draw.randrange(sum(last - first + 1 for first, last in ranges))
    for first, last in ranges:
        if number <= last - first:
            return chr(first + number)
        number -= last - first + 1
    raise AssertionError("a number within the size of the ranges is in one of them")
