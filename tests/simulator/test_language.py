"""Texts of a language belong to it, are bounded, and the same for the same generator."""

from __future__ import annotations

import random

import pytest

from replayproxy.simulator.language import (
    MOST_RULES,
    Alternation,
    BadLanguage,
    Characters,
    Concatenation,
    Language,
    Literal,
    Node,
    Repeat,
    Rule,
    complement,
)

A, B = Literal("a"), Literal("b")


def texts(language: Language, count: int = 50) -> set[str]:
    """Those of so many seeds."""
    return {language.text(random.Random(seed)) for seed in range(count)}


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (A, {"a"}),
        (Concatenation((A, B)), {"ab"}),
        (Concatenation(()), {""}),
        (Alternation((A, B)), {"a", "b"}),
        (Repeat(A, 0, 2), {"", "a", "aa"}),
        (Repeat(A, 2, 2), {"aa"}),
        (Characters(((0x61, 0x62), (0x7A, 0x7A))), {"a", "b", "z"}),
    ],
)
def test_every_text_of_a_small_language_is_drawn(node: Node, expected: set[str]) -> None:
    """And nothing else."""
    assert texts(Language(node)) == expected


def test_the_same_generator_gives_the_same_text() -> None:
    """So an answer follows from the seed and the request."""
    language = Language(Repeat(Alternation((A, B)), 5, None))
    assert language.text(random.Random(7)) == language.text(random.Random(7))


def test_a_language_that_contains_itself_comes_to_an_end() -> None:
    """Deep inside the shortest way out is taken, also where each step makes two more."""
    both = Alternation((Concatenation((Rule("tree"), Rule("tree"))), Concatenation((Rule("tree"), Rule("tree"))), A))
    for text in texts(Language(Rule("tree"), {"tree": both}), 5):
        assert set(text) == {"a"}
        assert len(text) < 200_000


BAD: list[tuple[Node, dict[str, Node], str]] = [
    (Rule("gone"), {}, "refers to a rule 'gone' that is not there"),
    (Rule("x"), {"x": Concatenation((A, Rule("x")))}, "has no text that ends"),
    (Repeat(A, 1001, None), {}, "repeats something 1001 times"),
    (Repeat(A, 3, 2), {}, "give the smaller number first"),
    (A, {f"r{number}": A for number in range(MOST_RULES + 1)}, "has 501 rules"),
]


@pytest.mark.parametrize(("node", "rules", "words"), BAD, ids=[words for *_, words in BAD])
def test_what_is_no_language(node: Node, rules: dict[str, Node], words: str) -> None:
    """Is refused before anything is drawn."""
    with pytest.raises(BadLanguage, match=words):
        Language(node, rules)


def test_what_a_class_excludes_is_not_drawn() -> None:
    """Printable ASCII first; where all of it is excluded, something else."""
    assert texts(Language(complement(((0x00, 0x78), (0x7A, 0xFFFF))))) == {"y"}
    (other,) = {len(text) for text in texts(Language(complement(((0x00, 0x7F),))))}
    assert other == 1
    with pytest.raises(BadLanguage, match="excludes all"):
        complement(((0, 0x10FFFF),))
