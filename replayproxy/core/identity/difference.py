"""Where two requests differ, and which of several recordings is the nearest to a request.

Compares what `Matcher.compared` leaves of them, so that nothing is shown that does not count. Says paths as RFC 9535
does (`$.messages[3].content`), and `?name` for the query, `header NAME` for a header.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from replayproxy.core.identity import canonical
from replayproxy.core.identity.defaults import drop_defaults
from replayproxy.core.identity.normalise import likeness
from replayproxy.core.identity.rules import Compared, Matcher
from replayproxy.core.identity.sketch import CONVERSATION, texts
from replayproxy.model import Request
from replayproxy.ports import Neighbour

ABSENT = "(absent)"

AROUND = 24
"""Characters of a value shown before and after the first difference."""

FLOOR = 0.6
"""Below this similarity no recording is shown: advice from a stranger is worse than none (keploy#4536)."""

SHOWN = 8
"""Differences kept of one pair; more would not help."""

COUNTED = 1000
"""Differences counted beyond those: two objects of a million fields each may differ in all of them."""

MOST_COMPARED = 4 * 1024 * 1024
"""Bytes of neighbours that are compared with one request; one neighbour always is."""

MOST_WORDS = 64 * 1024
"""Characters at either end of a text whose words are compared."""

_WEIGHTS = {"model": 4, "tools": 3}
"""What a setting weighs beside the others, which weigh 1."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Difference:
    """One place. The values are shortened around the first difference; ABSENT where there is none."""

    path: str
    recorded: str
    received: str
    likeness: str | None = None
    """The normaliser under which the two would be the same."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """The recording that a request resembles most. `similarity` is from 0 to 1."""

    neighbour: Neighbour
    similarity: float
    differences: tuple[Difference, ...]
    more: int = 0
    """Differences beyond those that are kept."""
    only_defaults: bool = False
    """Whether they would be equal if a field that says its documented default were as good as none."""


def nearest(matcher: Matcher, request: Request, neighbours: Sequence[Neighbour]) -> Nearest | None:
    """The one with the least weighted difference; None where all are below FLOOR."""
    received = matcher.compared(request)
    neighbours = neighbours[: most_compared(request)]
    best: tuple[float, Neighbour, Compared] | None = None
    for neighbour in neighbours:
        recorded = matcher.compared(neighbour.request)
        alike = similarity(recorded, received)
        if alike >= FLOOR and (best is None or alike > best[0]):
            best = alike, neighbour, recorded
    if best is None:
        return None
    alike, neighbour, recorded = best
    found = different_places(recorded, received)
    shown = tuple(_difference(*place) for place in islice(found, SHOWN))
    more = sum(1 for _ in islice(found, COUNTED))
    return Nearest(neighbour, alike, shown, more, _without_defaults(recorded) == _without_defaults(received))


def _without_defaults(compared: Compared) -> Compared:
    body = compared.body
    if isinstance(body, dict):
        body = dict(body)
        drop_defaults(compared.path, body)
    return replace(compared, body=body)


def most_compared(request: Request) -> int:
    """How many neighbours are compared with it: that takes up to 0.1 s a megabyte. The first one is that which
    resembles most by its sketch."""
    return max(1, MOST_COMPARED // max(1, len(request.body)))


def similarity(recorded: Compared, received: Compared) -> float:
    """Return from 0 to 1 how much of the conversation is equal, and at half the weight, of the settings."""
    if recorded.kind != received.kind:
        return 0.0
    one, other = recorded.body, received.body
    shares = [(1, float((recorded.query, recorded.headers) == (received.query, received.headers)))]
    if isinstance(one, dict) and isinstance(other, dict):
        for name in one.keys() | other.keys():
            if name not in CONVERSATION:
                share = _alike(one[name], other[name]) if name in one and name in other else 0.0
                shares.append((_WEIGHTS.get(name, 1), share))
        text_likeness = _conversation_likeness(one, other)
    else:
        text_likeness = _alike(one, other)
    settings = sum(weight * share for weight, share in shares) / sum(weight for weight, _ in shares)
    return text_likeness * (0.5 + 0.5 * settings)


def _conversation_likeness(one: dict[str, Any], other: dict[str, Any]) -> float:
    """From 0 to 1. The last turn counts twice: a common system prompt is no kinship, ten common turns are."""
    left_turns, right_turns = (
        [turn for name in CONVERSATION for turn in _turns(body.get(name))] for body in (one, other)
    )
    if not left_turns or not right_turns:
        return float(left_turns == right_turns)
    last = _alike(left_turns.pop(), right_turns.pop())
    if not left_turns and not right_turns:
        return last
    before = sum(_alike(first, second) for first, second in zip(left_turns, right_turns, strict=False))
    return (2 * last + before) / (2 + max(len(left_turns), len(right_turns)))


def _turns(value: Any) -> list[str]:
    """Return the conversation, turn by turn."""
    if isinstance(value, list) and not all(isinstance(item, int) for item in value):
        return [" ".join(texts(item)) for item in value]
    return [" ".join(texts(value))] if value else []


def _alike(one: Any, other: Any) -> float:
    """From 0 to 1."""
    if one == other:
        return 1.0
    if isinstance(one, dict) and isinstance(other, dict):
        names = one.keys() | other.keys()
        return sum(_alike(one[name], other[name]) for name in names if name in one and name in other) / len(names)
    if isinstance(one, list) and isinstance(other, list) and one and other:
        alike = sum(_alike(first, second) for first, second in zip(one, other, strict=False))
        return alike / max(len(one), len(other))
    if isinstance(one, bytes) and isinstance(other, bytes):
        return _alike(one.decode("latin-1"), other.decode("latin-1"))
    if isinstance(one, str) and isinstance(other, str) and one and other:
        words, others = _words(one), _words(other)
        return max(_shared(one, other), len(words & others) / max(1, len(words | others)))
    return 0.0


def _words(text: str) -> set[str]:
    if len(text) > 2 * MOST_WORDS:
        text = text[:MOST_WORDS] + " " + text[-MOST_WORDS:]
    return set(_WORD.findall(text))


def _shared(one: Sequence[Any], other: Sequence[Any]) -> float:
    """The share of what begins and what ends alike."""
    shorter, longer = sorted((len(one), len(other)))
    start = _common(one, other, shorter)
    end = _common(one[::-1], other[::-1], shorter - start)
    return (start + end) / longer


def _common(one: Sequence[Any], other: Sequence[Any], most: int) -> int:
    """How many items are the same from the start: halving, because comparing slices is quick."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def differences(recorded: Compared, received: Compared) -> Iterator[Difference]:
    """Every place where they differ, in the order of the request."""
    return (_difference(*place) for place in different_places(recorded, received))


Place = tuple[str, Any, Any]
"""Where two requests differ, and what stands there."""


def different_places(recorded: Compared, received: Compared) -> Iterator[Place]:
    """Every place where they differ, with the whole values; NOTHING where one side has none."""
    if recorded.method != received.method or recorded.path != received.path:
        one, other = (f"{side.method} {side.path}" for side in (recorded, received))
        yield "request", one, other
    yield from _pairs("?", recorded.query, received.query)
    yield from _pairs("header ", recorded.headers, received.headers)
    if recorded.kind != received.kind:
        yield "$", f"a body of {recorded.kind}", f"a body of {received.kind}"
    elif recorded.kind == "bytes":
        if recorded.body != received.body:
            yield "$", recorded.body.decode("latin-1"), received.body.decode("latin-1")
    else:
        yield from _places("$", recorded.body, received.body)


NOTHING = object()
"""Stands where one of two has no value; `null` is a value."""


def _pairs(prefix: str, one: Sequence[tuple[str, str]], other: Sequence[tuple[str, str]]) -> Iterator[Place]:
    sides: tuple[dict[str, list[str]], dict[str, list[str]]] = {}, {}
    for side, pairs in zip(sides, (one, other), strict=True):
        for name, value in pairs:
            side.setdefault(name, []).append(value)
    for name in dict.fromkeys((*sides[0], *sides[1])):
        before, after = (side.get(name) for side in sides)
        if before != after:
            first, second = (NOTHING if values is None else ", ".join(values) for values in (before, after))
            yield prefix + name, first, second


def _places(path: str, one: Any, other: Any) -> Iterator[Place]:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in dict.fromkeys((*one, *other)):
            step = f".{name}" if _NAME.fullmatch(name) else "[" + repr(name) + "]"
            yield from _places(path + step, one.get(name, NOTHING), other.get(name, NOTHING))
    elif isinstance(one, list) and isinstance(other, list):
        yield from _items(path, one, other)
    elif one != other or type(one) is not type(other):
        yield path, one, other


def _items(path: str, one: list[Any], other: list[Any]) -> Iterator[Place]:
    """What stands between the items that begin alike and those that end alike, place by place."""
    shorter = min(len(one), len(other))
    first, second = (list(map(canonical.dumps, items)) for items in (one, other))  # where true is not 1
    start = _common(first, second, shorter)
    end = _common(first[::-1], second[::-1], shorter - start) if len(one) != len(other) else 0
    before, after = one[start : len(one) - end], other[start : len(other) - end]
    for offset in range(max(len(before), len(after))):
        yield from _places(
            f"{path}[{start + offset}]",
            before[offset] if offset < len(before) else NOTHING,
            after[offset] if offset < len(after) else NOTHING,
        )


def _difference(path: str, one: Any, other: Any) -> Difference:
    texts = [value if isinstance(value, str) else _as_text(value) for value in (one, other)]
    like = likeness(one, other) if isinstance(one, str) and isinstance(other, str) and path != "request" else None
    recorded, received = _shortened(*texts)
    return Difference(path, recorded, received, like)


def _as_text(value: Any) -> str:
    return ABSENT if value is NOTHING else canonical.dumps(value).decode("utf-8", "replace")


def _shortened(one: str, other: str) -> tuple[str, str]:
    """Both, as far as needed to see where they begin to differ."""
    start = max(0, _common(one, other, min(len(one), len(other))) - AROUND)
    return tuple(_cut(value, start) for value in (one, other))  # type: ignore[return-value]  # two of two


def _cut(value: str, start: int) -> str:
    stop = start + 3 * AROUND
    shown = value[start:stop].translate(_VISIBLE)
    shown = shown.encode("utf-8", "backslashreplace").decode()  # half of a pair is no text
    return f"{'…' if start else ''}{shown}{'…' if stop < len(value) else ''}"


_VISIBLE = {**dict.fromkeys(range(32), "·"), 10: "⏎", 9: "→", 127: "·"}
