"""A backtracking engine that counts its steps, for Python's own parse of a pattern: what `re` does, slowly."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import cache
from re import _parser  # type: ignore[attr-defined]  # only the parse says what a pattern is made of
from typing import Any

Next = Callable[[int], bool]


class Engine:
    """Looks for all matches of one pattern, as `finditer` does."""

    def __init__(self, pattern: re.Pattern[Any]) -> None:
        self._tree = _parser.parse(
            pattern.pattern, pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags
        )
        self._flags = pattern.flags
        self.steps = 0
        self._text: list[int] = []

    def count(self, text: bytes | str) -> int:
        """The steps that all matches take."""
        sys.setrecursionlimit(20_000)
        self._text = [ord(letter) for letter in text] if isinstance(text, str) else list(text)
        self.steps = place = 0
        ends: list[int] = []

        def keep(end: int) -> bool:
            ends.append(end)
            return True

        matches = self._sequence(self._tree, keep)
        while place <= len(self._text):
            ends.clear()
            matches(place)
            place = max(ends[-1], place + 1) if ends else place + 1
        return self.steps

    def _sequence(self, items: Any, after: Next) -> Next:
        for operation, argument in reversed(list(items)):
            after = self._node(str(operation), argument, after)
        return after

    def _end(self, items: Any, start: int) -> int | None:
        ends: list[int] = []

        def keep(end: int) -> bool:
            ends.append(end)
            return True

        return ends[-1] if self._sequence(items, keep)(start) else None

    def _single(self, operation: str, argument: Any) -> Callable[[int], bool] | None:
        if operation == "LITERAL":
            return lambda code: code == argument
        if operation == "NOT_LITERAL":
            return lambda code: code != argument
        if operation == "ANY":
            return lambda code: code != 10 or bool(self._flags & re.DOTALL)
        if operation == "IN":
            return cache(lambda code: self._is_in(argument, code))
        return None

    def _is_in(self, items: Any, code: int) -> bool:
        negated = str(items[0][0]) == "NEGATE"
        for operation, argument in items[negated:]:
            name = str(operation)
            if (
                (name == "LITERAL" and code == argument)
                or (name == "RANGE" and argument[0] <= code <= argument[1])
                or (name == "CATEGORY" and self._is_of(str(argument), code))
            ):
                return not negated
        return negated

    @staticmethod
    def _is_of(category: str, code: int) -> bool:
        letter = chr(code)
        kind = category.removeprefix("CATEGORY_").removeprefix("NOT_")
        found = {"DIGIT": letter.isdigit(), "SPACE": letter.isspace(), "WORD": letter.isalnum() or letter == "_"}[kind]
        return found is not ("NOT_" in category)

    def _node(self, operation: str, argument: Any, after: Next) -> Next:
        single = self._single(operation, argument)
        if single is not None:
            return lambda at: self._step() and at < len(self._text) and single(self._text[at]) and after(at + 1)
        match operation:
            case "SUBPATTERN":
                return self._sequence(argument[3], after)
            case "BRANCH":
                ways = [self._sequence(way, after) for way in argument[1]]
                return lambda at: any(self._step() and way(at) for way in ways)
            case "ATOMIC_GROUP":
                return lambda at: (end := self._end(argument, at)) is not None and after(end)
            case "AT":
                return lambda at: self._step() and self._is_at(str(argument), at) and after(at)
            case "ASSERT" | "ASSERT_NOT":
                return lambda at: self._looks(argument[0], argument[1], at) is (operation == "ASSERT") and after(at)
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                least, most, items = argument
                return self._repeat(operation, least, most, items, after)
        raise NotImplementedError(operation)

    def _step(self) -> bool:
        self.steps += 1
        return True

    def _is_at(self, where: str, at: int) -> bool:
        text = self._text
        if where in ("AT_BOUNDARY", "AT_NON_BOUNDARY"):
            sides = [0 <= place < len(text) and self._is_of("CATEGORY_WORD", text[place]) for place in (at - 1, at)]
            return (sides[0] != sides[1]) is (where == "AT_BOUNDARY")
        lines = bool(self._flags & re.MULTILINE)
        if where.startswith("AT_BEGINNING"):
            return at == 0 or (lines and where == "AT_BEGINNING" and text[at - 1] == 10)
        return at == len(text) or (where == "AT_END" and text[at] == 10 and (lines or at == len(text) - 1))

    def _looks(self, direction: int, items: Any, at: int) -> bool:
        if direction > 0:
            return self._end(items, at) is not None
        least, most = items.getwidth()
        return any(self._end(items, at - width) == at for width in range(least, most + 1) if width <= at)

    def _repeat(self, operation: str, least: int, most: Any, items: Any, after: Next) -> Next:
        limit = min(int(most), 10**9)
        single = self._single(str(items[0][0]), items[0][1]) if len(items) == 1 else None

        def run(at: int) -> int:
            end = at
            while end < len(self._text) and end - at < limit and self._step() and single(self._text[end]):  # type: ignore[misc]  # only called with one
                end += 1
            return end

        def singles(at: int) -> bool:
            end = run(at)
            if operation == "POSSESSIVE_REPEAT":
                return end >= at + least and after(end)
            ends = range(end, at + least - 1, -1) if operation == "MAX_REPEAT" else range(at + least, end + 1)
            return any(self._step() and after(place) for place in ends)

        def possessive(at: int) -> bool:
            times = 0
            while times < limit and (end := self._end(items, at)) is not None and end > at:
                at, times = end, times + 1
            return times >= least and after(at)

        def groups(at: int, times: int = 0) -> bool:
            self._step()

            def more() -> bool:
                again = self._sequence(items, lambda end: end > at and groups(end, times + 1))
                return times < limit and again(at)

            def enough() -> bool:
                return times >= least and after(at)

            return (more() or enough()) if operation == "MAX_REPEAT" else (enough() or more())

        if single is not None:
            return singles
        return possessive if operation == "POSSESSIVE_REPEAT" else groups
