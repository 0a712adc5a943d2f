"""JSONPath expressions that users and cassettes bring (RFC 9535), bounded: a document costs work in proportion.

`$..*..*..*` visits each value once for each chain of values above it, `$[*,*][*,*]…` twice as many with each segment,
and a filter may bring a regular expression. The library evaluates all of that; what is not bounded is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from jsonpath import JSONPath, JSONPathEnvironment, JSONPathError, JSONPathMatch
from jsonpath.filter import BaseExpression, FilterQuery, RootFilterQuery
from jsonpath.function_extensions import ExpressionType, FilterFunction
from jsonpath.segments import JSONPathRecursiveDescentSegment
from jsonpath.selectors import Filter, IndexSelector, NameSelector

from replayproxy.core.patterns import Refused, TextPattern

LONGEST = 1000
"""Characters of an expression."""

MOST_DESCENTS = 2
"""Times that `..` may stand in one: with two, each value is visited once for each value above it, of which there are
64 at most (`canonical.MAX_DEPTH`)."""

MOST_TIMES = 16
"""Times that one value may be selected, by lists of selectors such as `[*,*]`."""


class Path:
    """One expression. Raises `Refused`."""

    def __init__(self, source: str) -> None:
        self.source = source
        if len(source) > LONGEST:
            raise Refused(f"is longer than {LONGEST} characters: write it shorter, or as several")
        try:
            compiled = _ENVIRONMENT.compile(source)
        except JSONPathError as error:
            # str(error) draws the place, and fails where that is the end
            raise Refused(f"is not a JSONPath (RFC 9535): {error.args[0]}") from error
        except RecursionError as error:
            raise Refused("is nested too deeply: write it as several") from error
        if not isinstance(compiled, JSONPath):
            raise Refused("is not a JSONPath (RFC 9535): write each path by itself")
        if sum(_descents(compiled)) > MOST_DESCENTS:
            raise Refused(f"descends more than {MOST_DESCENTS} times: name the fields between")
        if _times(compiled) > MOST_TIMES:
            raise Refused("selects the same values over and over: write it as several")
        self._compiled = compiled

    def matches(self, document: dict[str, Any] | list[Any]) -> Iterator[JSONPathMatch]:
        """The values that it selects."""
        return iter(self._compiled.finditer(document))


def _descents(path: JSONPath) -> Iterator[int]:
    for segment in path.segments:
        yield isinstance(segment, JSONPathRecursiveDescentSegment)
        for query in _queries(segment.selectors):
            if isinstance(query, RootFilterQuery) and not query.path.singular_query():
                # For each value that is filtered, all of the document is looked at.
                raise Refused("searches the whole document for each value: compare with one place, as in $.name")
            yield from _descents(query.path)


def _times(path: JSONPath) -> int:
    """How often one value may be selected."""
    times = 1
    for segment in path.segments:
        broad = sum(not isinstance(selector, NameSelector | IndexSelector) for selector in segment.selectors)
        times *= max(1, broad, len(segment.selectors) if broad else 1)
        for query in _queries(segment.selectors):
            times = max(times, _times(query.path))
    return times


def _queries(selectors: Any) -> Iterator[FilterQuery]:
    for selector in selectors:
        if isinstance(selector, Filter):
            yield from _within(selector.expression)


def _within(expression: BaseExpression) -> Iterator[FilterQuery]:
    if isinstance(expression, FilterQuery):
        yield expression
        return  # its own filters are found by way of its path
    for child in expression.children():
        yield from _within(child)


class _Matching(FilterFunction):
    """`match` and `search` of RFC 9535 §2.4.6, §2.4.7, in linear time. A pattern that is refused matches nothing."""

    arg_types = [ExpressionType.VALUE, ExpressionType.VALUE]  # noqa: RUF012  # as the library declares them
    return_type = ExpressionType.LOGICAL

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole

    def __call__(self, value: object, pattern: object) -> bool:
        if not isinstance(value, str) or not isinstance(pattern, str):
            return False
        compiled = _pattern(pattern)
        return compiled is not None and compiled.is_found(value, whole=self._whole)


@lru_cache(256)
def _pattern(source: str) -> TextPattern | None:
    try:
        return TextPattern(source)
    except Refused:
        return None


class _Environment(JSONPathEnvironment):
    def setup_function_extensions(self) -> None:
        """The standard's functions, two of them our own."""
        super().setup_function_extensions()
        self.function_extensions["match"] = _Matching(whole=True)
        self.function_extensions["search"] = _Matching(whole=False)


_ENVIRONMENT = _Environment(strict=True)
