"""Names are those of the glossary: no identifier has a word that the glossary replaces."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import replayproxy

PACKAGE = Path(replayproxy.__file__).parent

REPLACED = frozenset(
    {"asked", "said", "told", "heard", "spelled", "wanted", "known", "came"}
    | {"veil", "finder", "keeper", "shelf", "tally", "tape", "ear", "knobs", "party"}
)

FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def replaced_names(source: str) -> set[str]:
    """The identifiers of a module that have a replaced word in them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                names.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
    return {name for name in names if not REPLACED.isdisjoint(words(name))}


def words(name: str) -> list[str]:
    """The words of an identifier, in lower case."""
    return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())


@pytest.mark.parametrize("name", FILES)
def test_names_are_those_of_the_glossary(name: str) -> None:
    """In every module of the package."""
    assert replaced_names((PACKAGE / name).read_text()) == set()


def test_replaced_names_are_found() -> None:
    """In every kind of identifier, also as one of its words; `near` and `partying` are other words."""
    source = """
class StreamVeil:
    def was_asked(self, told): self._said = heard(wanted=1)
near = earlier = partying = unknown = 1
"""
    assert replaced_names(source) == {"StreamVeil", "was_asked", "told", "_said", "heard", "wanted"}
