"""Escapes, classes and quantifiers are read alike in expressions and grammars."""

from __future__ import annotations

import pytest

from replayproxy.simulator.characters import ExpressionReader, anything
from replayproxy.simulator.language import BadLanguage, Characters, Literal, Repeat

A = Literal("a")


@pytest.mark.parametrize(
    ("source", "expected", "left"),
    [
        ("*b", Repeat(A, 0, None), "b"),
        ("+", Repeat(A, 1, None), ""),
        ("?", Repeat(A, 0, 1), ""),
        ("{2}", Repeat(A, 2, 2), ""),
        ("{2,}", Repeat(A, 2, None), ""),
        ("{,4}x", Repeat(A, 0, 4), "x"),
        ("{2,4}", Repeat(A, 2, 4), ""),
        ("{x}", A, "{x}"),
        ("b", A, "b"),
    ],
)
def test_quantifiers(source: str, expected: object, left: str) -> None:
    """Braces that are none are characters."""
    reader = ExpressionReader(source)
    assert reader.repeated(A) == expected
    assert source[reader.at :] == left


@pytest.mark.parametrize(
    ("source", "ranges"),
    [("a-c]", ((97, 99),)), ("]a]", ((93, 93), (97, 97))), ("a-]", ((97, 97), (45, 45))), ("\\n]", ((10, 10),))],
)
def test_classes(source: str, ranges: tuple[tuple[int, int], ...]) -> None:
    """A bracket that comes first is a member, and so is a hyphen at an end."""
    assert ExpressionReader(source).character_class() == Characters(ranges)


@pytest.mark.parametrize(
    ("source", "character"), [("n", "\n"), ("x41", "A"), ("u00e9", "é"), ("U0001f600", "😀"), (".", ".")]
)
def test_escapes(source: str, character: str) -> None:
    """By letter and by number."""
    assert ExpressionReader(source).escape() == character


def test_brackets_are_counted() -> None:
    """So that no source is deeper than Python's stack."""
    reader = ExpressionReader("")
    for _ in range(50):
        reader.enter()
    with pytest.raises(BadLanguage, match="more than 50"):
        reader.enter()


def test_a_dot_is_printable() -> None:
    """One character of ASCII."""
    assert anything() == Characters(((0x20, 0x7E),))
