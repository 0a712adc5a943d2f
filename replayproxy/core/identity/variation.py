"""What varies between two texts that should be the same, and the narrowest match rule that makes them equal.

    "Today is 2026-11-17. Ask."   ──▶ Variation("2026-11-17", "2026-11-18", after "Today is ")
    "Today is 2026-11-18. Ask."   ──▶ --match-normalise 'today=Today is [0-9]{4}-[0-9]{2}-[0-9]{2}'

A rule keeps the text before what varies, so that a date elsewhere still counts: broad rules make requests equal that
are not. Knows no request: only texts, and the names of `normalise.BUILT_IN`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

from replayproxy.core.identity.normalise import BUILT_IN
from replayproxy.core.patterns import Refused, TextPattern

CONTEXT = 24
"""Characters before what varies that a rule keeps, cut at a word."""

MOST_TOKENS = 4000
"""Tokens that are aligned between the common start and the common end of two texts; aligning takes their square."""

MOST_VARIATIONS = 40
"""Places in one text beyond which it is another text."""

_TOKEN = re.compile(
    "|".join(
        [f"(?P<{name.replace('-', '_')}>{pattern})" for name, pattern in BUILT_IN.items()] + [r"\w+", r"\s+", "."]
    ),
    re.DOTALL,
)

_RUN = re.compile(r"[0-9]+|[A-Za-z]+|\s+|[^0-9A-Za-z\s]")

_KINDS = {
    "uuid": "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}",
    "timestamp": r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.,]{5,18}(?: ?(?:Z|UTC|GMT|[+-][0-9:]{4,6}))?",
}
"""Patterns of kinds whose spelling may differ more than two examples show."""


@dataclass(frozen=True, slots=True)
class Variation:
    """One place in a text. `kind` is the normaliser that knows both values, if there is one."""

    first: str
    second: str
    before: str
    kind: str | None
    whole: bool
    """Whether the text is nothing else."""


class _Token:
    __slots__ = ("kind", "text")

    def __init__(self, text: str, kind: str | None) -> None:
        self.text, self.kind = text, kind

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Token) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


def _tokens(text: str) -> list[_Token]:
    return [_Token(found[0], (found.lastgroup or "").replace("_", "-") or None) for found in _TOKEN.finditer(text)]


def variations(first: str, second: str) -> list[Variation] | None:
    """Where two texts differ, word by word; None where they are not two versions of one text."""
    one, other = _tokens(first), _tokens(second)
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(one), len(other)) - start and one[-1 - end] == other[-1 - end]:
        end += 1
    middle, others = one[start : len(one) - end], other[start : len(other) - end]
    if max(len(middle), len(others)) > MOST_TOKENS:
        return None
    found: list[Variation] = []
    equal_from = 0  # what stands before the last difference is another rule's, and varies
    matcher = SequenceMatcher(None, middle, others, autojunk=False)
    for operation, left, right, low, high in _joined(matcher.get_opcodes(), middle):
        if operation == "equal":
            continue
        before, after = middle[left:right], others[low:high]
        if not before or not after or len(found) == MOST_VARIATIONS:
            return None
        texts = ["".join(token.text for token in tokens) for tokens in (before, after)]
        if any(len(text) > 200 or "\n" in text for text in texts):
            return None
        context = "".join(token.text for token in one[equal_from : start + left])
        equal_from = start + right
        found.append(Variation(texts[0], texts[1], context[-4 * CONTEXT :], _kind(before, after), texts[0] == first))
    return found


def _joined(
    opcodes: Sequence[tuple[str, int, int, int, int]], tokens: Sequence[_Token]
) -> Iterator[tuple[str, int, int, int, int]]:
    """Differences with nothing but a mark between them are one: the parts of an id, of a version, of a number."""
    waiting: tuple[str, int, int, int, int] | None = None
    for place, opcode in enumerate(opcodes):
        kind, left, right, low, high = opcode
        is_mark = kind == "equal" and right - left == 1 and re.fullmatch(r"[-._:/]", tokens[left].text) is not None
        between = is_mark and waiting is not None and place + 1 < len(opcodes)
        if waiting is not None and (kind != "equal" or between):
            waiting = ("replace", waiting[1], right, waiting[3], high)
        elif kind == "equal":
            yield opcode
        else:
            waiting = ("replace", left, right, low, high)
        if waiting is not None and kind == "equal" and not between:
            yield waiting
            waiting = None
    if waiting is not None:
        yield waiting


def _kind(first: Sequence[_Token], second: Sequence[_Token]) -> str | None:
    """The normaliser that knows both sides, where each is one value of its."""
    if len(first) == len(second) == 1 and first[0].kind == second[0].kind:
        return first[0].kind
    return None


# Rules


def looks_minted(text: str) -> bool:
    """Whether a text is an id, a number or a time that something made up, and not a word of a language."""
    return len(text) >= 4 and any(character.isdigit() for character in text) and not re.search(r"\s", text)


@dataclass(frozen=True, slots=True)
class NarrowRule:
    """A pattern with the text before it: `Today is ` and `[0-9]{4}-[0-9]{2}-[0-9]{2}`."""

    context: str
    core: str
    kind: str | None

    def value(self, taken: Sequence[str] = ()) -> str:
        """The rule as `--match-normalise` has it. `taken`: names of other rules."""
        return f"{_name(self.context, self.kind, taken)}={_escaped(self.context)}{self.core}"

    def joined(self, other: NarrowRule) -> NarrowRule | None:
        """One rule for both, where the same varies after the same words; None where the words have nothing in common.

        That a text varies after several contexts with the same end shows that the beginning does not belong to it.
        """
        if (self.core, self.kind) != (other.core, other.kind):
            return None
        size = 0
        while size < min(len(self.context), len(other.context)) and self.context[-1 - size] == other.context[-1 - size]:
            size += 1
        shared = self.context[len(self.context) - size :]
        if size < len(self.context) and re.match(r"\w", shared):  # from the beginning of a word
            shared = re.sub(r"^\w+", "", shared) if re.match(r"\w", self.context[-1 - size]) else shared
        context = _context(shared)
        return NarrowRule(context, self.core, self.kind) if context else None


def narrow_rule(variation: Variation) -> NarrowRule | None:
    """A rule that matches both values after the same text; None where there is no text to hold on to."""
    # A temporary folder says itself what it is, wherever it stands.
    context = "" if variation.kind == "tmp-path" else _context(variation.before)
    if not context and not (variation.kind == "tmp-path" or (variation.whole and variation.kind)):
        return None
    core = _KINDS.get(variation.kind or "") or _pattern(
        variation.first, variation.second, literal=variation.kind in (None, "tmp-path")
    )
    if not context and variation.whole and variation.kind != "tmp-path":
        core = f"^{core}$"
    try:
        compiled = TextPattern(_escaped(context) + core)
    except Refused:
        return None
    if len({compiled.replaced(context + value, "<>") for value in (variation.first, variation.second)}) != 1:
        return None
    return NarrowRule(context, core, variation.kind)


def _context(before: str) -> str:
    """The end of the text before, from the beginning of a word, on one line; empty where it has no word."""
    line = before.rpartition("\n")[2]
    if len(line) > CONTEXT:
        cut = len(line) - CONTEXT
        while cut < len(line) and re.match(r"\w", line[cut]) and re.match(r"\w", line[cut - 1]):
            cut += 1
        line = line[cut:]
    line = re.sub(r"^\W+", "", line)
    return line if re.search(r"[^\W\d_]{2}", line) else ""


def _escaped(text: str) -> str:
    """The text as a pattern, in the plain form that people read."""
    return re.sub(r"([\\.^$*+?{}\[\]|()])", r"\\\1", text)


def _pattern(first: str, second: str, *, literal: bool) -> str:
    """What both are made of: runs of digits, of letters, and the marks between them.

    `literal`: runs that are the same stay as they are, such as the folder of a temporary path; what stands behind the
    last one that varies, such as the name of a file there, is no part of the pattern and still counts.
    """
    one, other = _RUN.findall(first), _RUN.findall(second)
    if [_class(run) for run in one] != [_class(run) for run in other]:
        return _mixed(first, second)
    parts = [
        _escaped(run)
        if run == another and (literal or not run.isalnum())
        else _of_class(run, another, exact=not literal)
        for run, another in zip(one, other, strict=True)
    ]
    while literal and not parts[-1].startswith("["):
        parts.pop()
    # An id mixes letters and digits as chance has it: `x8f3` and `41ab` are of one kind.
    if literal and any(part.startswith("[") for part in parts) and _is_mixed(one):
        return _mixed(first, second)
    return "".join(parts)


def _is_mixed(runs: Sequence[str]) -> bool:
    classes = [_class(run) for run in runs]
    return any({before, after} == {"0", "a"} for before, after in pairwise(classes))


def _mixed(first: str, second: str) -> str:
    """The common start and end by words, and one class for what stands between."""
    one, other = (re.findall(r"\w+|\W", text) for text in (first, second))
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(one), len(other)) - start and one[-1 - end] == other[-1 - end]:
        end += 1
    middles = "".join(one[start : len(one) - end] + other[start : len(other) - end])
    marks = "".join(sorted(set(re.sub(r"\w", "", middles))))
    allowed = re.sub(r"([\\\]^])", r"\\\1", marks.replace("-", "")) + ("-" if "-" in marks else "")
    before = "".join(one[:start])
    values = ["".join(tokens[start : len(tokens) - end]) for tokens in (one, other)]
    if len(values[0]) == len(values[1]) >= 6 and not marks:  # an id has its length, and most are hexadecimal
        digits = "0-9a-f" if all(re.fullmatch(r"[0-9a-f]+", value) for value in values) else "0-9A-Za-z_"
        return f"{_escaped(before)}[{digits}]{{{len(values[0])}}}"
    return f"{_escaped(before)}[0-9A-Za-z_{allowed}]+"


def _class(run: str) -> str:
    return "0" if run[0].isdigit() else "a" if run[0].isalpha() else run


def _of_class(first: str, second: str, *, exact: bool) -> str:
    kind = "[0-9]" if first[0].isdigit() else "[A-Za-z]"
    if exact and first[0].isdigit() and len(first) == len(second):
        return f"{kind}{{{len(first)}}}"
    return f"{kind}+"


def _name(context: str, kind: str | None, taken: Sequence[str]) -> str:
    """A name for people: the last word before it, else its kind."""
    words = re.findall(r"[A-Za-z]{3,}", context) or re.findall(r"[A-Za-z]{2,}", context)
    base = (words[-1].lower() if words else kind or "id")[:20]
    if base in BUILT_IN:
        base = f"this-{base}"
    names = [base, *(f"{base}{number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)
