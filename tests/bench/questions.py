"""What the streamed chats of the size measurement ask: English prose from the docstrings of Python's standard library,
chosen by a seed. Read from the source files, so that nothing is imported.
"""

from __future__ import annotations

import ast
import random
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

import orjson

SEED = 7
LENGTHS = (80, 1500)
"""Characters of a docstring that is worth asking about, and that fits into the model."""

TOKENS = (64, 448)


def docstrings() -> list[str]:
    """Those of its modules that are neither too short nor too long, each once, in the order of the files."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    found = dict.fromkeys(text for path in sorted(folder.glob("*.py")) for text in _documented(path))
    return [text for text in found if LENGTHS[0] <= len(text) <= LENGTHS[1]]


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


def bodies(count: int) -> list[bytes]:
    """Request bodies of streamed chats."""
    chance = random.Random(SEED)
    return [
        orjson.dumps(
            {
                "model": "tiny",
                "messages": [
                    {"role": "system", "content": "You are a helpful assistant."},
                    {"role": "user", "content": f"Explain this in your own words:\n\n{text}"},
                ],
                "stream": True,
                "stream_options": {"include_usage": True},
                "temperature": 0,
                "max_tokens": chance.randint(*TOKENS),
            }
        )
        for text in chance.sample(docstrings(), count)
    ]
