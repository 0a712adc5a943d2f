"""What the streamed chats of the size measurement ask: English prose from the docstrings of Python's standard library,
chosen by a seed. Read from the source files, so that nothing is imported.

Three mixes of traffic, because a bound that holds on one of them says little about the others: in a short chat the
request and the row weigh most, in a long one the answer and its times.
"""

from __future__ import annotations

import ast
import random
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import orjson

SEED = 7
SHORTEST = 80
"""Characters of a docstring that is worth asking about."""


@dataclass(frozen=True, slots=True)
class Mix:
    """Chats of one kind: how many, how many words the question has, how many tokens the answer may have."""

    name: str
    chats: int
    words: tuple[int, int]
    tokens: tuple[int, int]


MIXES = (
    Mix("short", 600, (10, 120), (32, 256)),
    Mix("middle", 600, (12, 250), (64, 448)),
    Mix("long", 200, (100, 500), (512, 1024)),
)


@cache
def docstrings() -> list[str]:
    """Those of its modules that are not too short, each once, in the order of the files."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    found = dict.fromkeys(text for path in sorted(folder.glob("*.py")) for text in _documented(path))
    return [text for text in found if len(text) >= SHORTEST]


def _documented(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield text


def bodies(mix: Mix) -> list[bytes]:
    """Request bodies of streamed chats."""
    chance = random.Random(SEED)
    fitting = [text for text in docstrings() if len(text.split()) >= mix.words[0]]
    return [
        orjson.dumps(
            {
                "model": "tiny",
                "messages": [
                    {"role": "system", "content": "You are a helpful assistant."},
                    {"role": "user", "content": _question(fitting, chance, chance.randint(*mix.words))},
                ],
                "stream": True,
                "stream_options": {"include_usage": True},
                "temperature": 0,
                "max_tokens": chance.randint(*mix.tokens),
            }
        )
        for _ in range(mix.chats)
    ]


def _question(texts: list[str], chance: random.Random, length: int) -> str:
    """So many words of prose, and what to do with them."""
    words: list[str] = []
    while len(words) < length:
        words += chance.choice(texts).split()
    return f"Explain this in your own words:\n\n{' '.join(words[:length])}"
