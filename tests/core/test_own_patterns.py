"""Our own regular expressions stay with `re`: listed here, and each takes steps in proportion to the text."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from replayproxy.core import paths, patterns
from replayproxy.core.identity import difference, normalise, sketch
from replayproxy.core.identity import rules as match_rules
from replayproxy.core.redaction import credentials, detector, escapes, event_text, key_patterns, masks, rules
from tests.backtracking import Engine

PACKAGE = Path(__file__).parents[2] / "replayproxy"


def compiles_what_it_is_given(tree: ast.AST) -> list[str]:
    """Calls of `re` whose pattern is not written there."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func).startswith("re."):
            names = {part.id for part in ast.walk(node.args[0]) if isinstance(part, ast.Name)}
            if any(not name.lstrip("_").isupper() for name in names) and ast.unparse(node.func) != "re.escape":
                found.append(f"line {node.lineno}: {ast.unparse(node)[:80]}")
    return found


GIVEN = {
    "cassette/coding/times.py": "a pattern made of numbers that the codec counted",
    "core/identity/normalise.py": "the named normalisers",
    "core/identity/variation.py": "the named normalisers, and words and spaces",
    "core/redaction/event_text.py": "names of fields, from a list of our own",
    "core/redaction/key_patterns.py": "shapes and hints, from a table of our own",
}


def test_no_foreign_pattern_meets_a_backtracking_engine() -> None:
    """What is compiled by `re` is written in the package; the exceptions say what they compile."""
    texts = {path.relative_to(PACKAGE).as_posix(): path.read_text() for path in PACKAGE.rglob("*.py")}
    assert len(texts) > 200
    found = {place: compiles_what_it_is_given(ast.parse(text)) for place, text in texts.items() if "re." in text}
    assert {place: lines for place, lines in found.items() if lines and place not in GIVEN} == {}


MODULES = (
    credentials,
    event_text,
    difference,
    detector,
    masks,
    match_rules,
    normalise,
    paths,
    patterns,
    rules,
    key_patterns,
    sketch,
    escapes,
)


def gathered() -> dict[str, re.Pattern[Any]]:
    """Every pattern of these modules."""
    found: dict[str, re.Pattern[Any]] = {}
    for module in MODULES:
        for name, value in vars(module).items():
            many = value.values() if isinstance(value, dict) else [value]
            for one in many:
                if isinstance(one, re.Pattern):
                    found[f"{module.__name__.rpartition('.')[2]}.{name} {str(one.pattern)[:40]}"] = one
    found |= {f"normalising.{name}": re.compile(pattern) for name, pattern in normalise.BUILT_IN.items()}
    found["deltas.content"] = event_text._splitting_pattern(b"content")
    return found


PATTERNS = gathered()
UNITS = (
    *("a", "&", "\\", '\\"', "\\u0061", '"', " ", "-", "-----BEGIN A", "-----END A ", " A", "sk-", "eyJ-", "://a"),
    *("C:\\a\\", " /tmp/", "1.", "2024-01-01T", '"content":"', '"content" ', "[1,", "*~", "*", "%4", "data: "),
    *(";base64,", "xapp-1-a", "call_"),
)
STARTS_APART = {
    # Tried at few places, which do not lie in one run: `shapes._matches`, `shapes._private_keys`, `shapes.open_at`
    "sk-(?=": "not tried again in a run where it has failed",
    "eyJ": "not tried again in a run where it has failed",
    "(?:[?&;]": "searched once, in a run that nothing breaks",
    "[A-Za-z][A-Za-z0-9-]*": "matched at the beginning only",
}


def starts_apart(pattern: str) -> bool:
    """Whether it is tried at few places."""
    return any(pattern.lstrip("b'").startswith(start) or start in pattern[:60] for start in STARTS_APART)


@pytest.mark.parametrize("name", [name for name in PATTERNS if not starts_apart(str(PATTERNS[name].pattern))])
def test_a_pattern_of_ours_takes_steps_in_proportion(name: str) -> None:
    """At n and 2n, on what each may begin with over and over, whole and with an end that does not match."""
    pattern = PATTERNS[name]
    engine = Engine(pattern)
    for unit in UNITS:
        for end in ("", "\0"):
            steps = []
            for size in (120, 240):
                text = unit * (size // len(unit)) + end
                steps.append(engine.count(text.encode() if isinstance(pattern.pattern, bytes) else text))
            assert steps[1] <= 3 * steps[0] + 500, (unit, end, steps)
