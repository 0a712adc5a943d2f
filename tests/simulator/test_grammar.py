"""Texts drawn of a grammar belong to it, in both forms that vLLM takes."""

from __future__ import annotations

import random
import re

import pytest

from replayproxy.simulator.grammar import LIBRARY, read_grammar
from replayproxy.simulator.language import BadLanguage

SQL = """
# vLLM's own example
root ::= select_statement
select_statement ::= "SELECT " column " from " table " where " condition
column ::= "col_1 " | "col_2 "
table ::= "table_1 " | "table_2 "
condition ::= column "= " number
number ::= "1 " | "2 "
"""
ARITHMETIC = """
?start: sum
?sum: product
    | sum "+" product   -> add
    | sum "-" product   -> sub
?product: NUMBER
    | "(" sum ")"
NUMBER: /[1-9][0-9]{0,3}/
%import common.WS_INLINE
%ignore WS_INLINE
"""
GRAMMARS = [
    (SQL, r"SELECT col_[12]  from table_[12]  where col_[12] = [12] "),
    (ARITHMETIC, r"[0-9()+-]+"),
    ('root ::= "a"{2,3} [0-9]+ ( "x" | "y" )? # the end', r"a{2,3}[0-9]+[xy]?"),
    ('root ::= item ("," item)*\nitem ::= [a-z]\n  | "\\x41\\n"', r"([a-z]|A\n)(,([a-z]|A\n))*"),
    ('start: "b"i~2..3 ["c"] "0".."4"', r"b{2,3}c?[0-4]"),
    (
        'start: WORD " " SIGNED_NUMBER+\n%import common.WORD\n%import common.SIGNED_NUMBER',
        r"[a-zA-Z]+ ([+-]?[0-9]+(\.[0-9]+)?)+",
    ),
    ('start: A // one\nA.2: "a" | /b\\/c/', r"a|b/c"),
    ('root ::= ""', ""),
]


@pytest.mark.parametrize(("source", "pattern"), GRAMMARS, ids=range(len(GRAMMARS)))
def test_every_text_belongs_to_it(source: str, pattern: str) -> None:
    """As a regular expression says that is as wide as the grammar, or wider."""
    language = read_grammar(source)
    compiled = re.compile(pattern)
    for seed in range(40):
        text = language.text(random.Random(seed))
        assert compiled.fullmatch(text), text


def test_brackets_of_arithmetic_are_closed() -> None:
    """What a regular expression cannot say."""
    language = read_grammar(ARITHMETIC)
    for seed in range(40):
        depth = 0
        for character in language.text(random.Random(seed)):
            depth += (character == "(") - (character == ")")
            assert depth >= 0
        assert depth == 0


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_can_be_imported(name: str) -> None:
    """Under its name or another one."""
    assert read_grammar(f"start: X\n%import common.{name} -> X").text(random.Random(1))


BAD = [
    ("", "has no rule 'start'"),
    ('x ::= "a"', "has no rule 'root'"),
    ("root ::= gone", "refers to a rule 'gone'"),
    ('root ::= "a', "ends in the middle, in the rule 'root'"),
    ('root ::= ("a"', "ends in the middle"),
    ('root ::= "a" )', "has '\\)'"),
    ("root ::= root", "has no text that ends"),
    ('hello\nroot ::= "a"', "which is no rule"),
    ("start: X\n%import common.NOTHING", "imports common.NOTHING"),
    ("start: X\n%declare X", "has the directive %declare"),
    ('start: "b".."a"', "a range whose ends"),
    ('start: "\\d"', "a class of characters in a string"),
    ('start: "a"~', "ends in the middle"),
    ("start: /(?=a)/", "has a group"),
]


@pytest.mark.parametrize(("source", "words"), BAD, ids=range(len(BAD)))
def test_what_is_refused(source: str, words: str) -> None:
    """With what is wrong, and in which rule."""
    with pytest.raises(BadLanguage, match=words):
        read_grammar(source)
