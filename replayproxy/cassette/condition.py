"""`--where`: whether it is one condition, before SQLite sees it between words of ours.

SQLite's errors quote what stands around a mistake, and that is our SQL: an open quote ends in our ORDER BY. So what can
be seen without SQLite is refused here, in the user's words: text that goes on behind its end, or that ends the
parentheses in which it will stand. Knows SQLite's tokens (sqlite.org/lang_expr.html), not its grammar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)|(?P<string>'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])"""
    r"""|(?P<value>[:@$][A-Za-z0-9_$]+|\?\d*)|(?P<open>/\*|['"`\[])|(?P<space>\s+)|(?P<mark>.)""",
    re.DOTALL,
)

_SHOWN = 30
"""Characters of it that an error quotes."""


def fault_in(text: str, bound: frozenset[str] = frozenset()) -> str | None:
    """What is wrong with a condition, as a phrase; None where only SQLite can tell. `bound` are the names of values."""
    depth = words = 0
    named: set[str] = set()
    for kind, word, place in _tokens(text):
        words += kind not in ("comment", "space")
        if kind == "open":
            what = "comment" if word == "/*" else "quote"
            return f"the {what} that begins at {_shown(text[place:])} is not closed"
        if kind == "value" and word[0] == "?":
            return f"{word} has no name: write :NAME, and give its value with -p NAME VALUE"
        if kind == "value":
            named.add(word[1:])
        if word == ";":
            return "it is one condition, not a statement: leave the ; away, and what follows it"
        depth += {"(": 1, ")": -1}.get(word, 0) if kind == "mark" else 0
        if depth < 0:
            return f"a ) too many: {_shown(text[place:])} closes what was not opened"
    if not words:
        return "it is empty: give a condition, such as 'status = 200'"
    if depth:
        return f"a ( is not closed: {_shown(text)}"
    if missing := sorted(named - bound):
        return f":{missing[0]} has no value: give it with -p {missing[0]} VALUE"
    if unused := sorted(bound - named):
        return f"-p {unused[0]} has no :{unused[0]} in it to bind"
    return None


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    for found in _TOKEN.finditer(text):
        assert found.lastgroup is not None
        yield found.lastgroup, found[0], found.start()


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
