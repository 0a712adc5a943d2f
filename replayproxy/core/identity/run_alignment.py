"""Which request of a second run stands for which of the first, although something in them varies.

    second run, in order ──▶ answers put back to those of the first ──▶ the same key, else the nearest ──▶ PairedStep

What an answer brings into the next request is no variation: in a replay every run gets the recorded answers. Knows
requests and the texts of answers, not cassettes.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from replayproxy.core.identity import canonical
from replayproxy.core.identity.difference import FLOOR, similarity
from replayproxy.core.identity.normalise import BUILT_IN, normalisers
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.model import Key, Request

WINDOW = 40
"""Requests among which the partner of one is looked for: programs ask in about the same order."""


@dataclass(frozen=True, slots=True)
class RunStep:
    """One request of a run, and the texts of its answer by what they are: `content`, `call 0 id`."""

    request: Request
    answer: Mapping[str, str] = field(default_factory=dict)


Steps = Sequence[RunStep]


@dataclass(frozen=True, slots=True)
class PairedStep:
    """A request of the second run by its place, the place of that of the first, and whether both have one key."""

    second: int
    first: int | None
    request: Request
    is_equal: bool


def _with_answers(request: Request, answers: Mapping[str, Sequence[str]]) -> Request:
    """The request as it would be if its client had got other answers: each text that is one of them, exchanged.

    A text that several answers had, such as an empty one, is exchanged in their order.
    """
    if all(text == before for text, several in answers.items() for before in several):
        return request
    try:
        body = canonical.loads(request.body)
    except ValueError:
        return request
    exchange = _Exchange(answers)
    return replace(request, body=canonical.dumps(exchange.of(body, is_answer=False)), undone=None)


class _Exchange:
    """Exchanges the texts of one request, from its beginning to its end."""

    def __init__(self, answers: Mapping[str, Sequence[str]]) -> None:
        self._answers = answers
        self._seen: defaultdict[str, int] = defaultdict(int)

    def of(self, value: Any, *, is_answer: bool) -> Any:
        """`is_answer`: the value is of a message that the server wrote; only there an empty text is an answer."""
        match value:
            case str():
                return self._text(value) if value or is_answer else value
            case list():
                return [self.of(item, is_answer=is_answer) for item in value]
            case dict():
                is_answer = value.get("role") == "assistant"
                return {
                    name: self.of(inner, is_answer=is_answer and name == "content") for name, inner in value.items()
                }
        return value

    def _text(self, text: str) -> str:
        several = self._answers.get(text)
        if not several:
            return text
        place = self._seen[text]
        self._seen[text] += 1
        return several[min(place, len(several) - 1)]


def pair_steps(first: Steps, second: Steps, rules: MatchRules) -> list[PairedStep]:
    """Each request of the second run, with the answers of the first in it, and the request that it stands for."""
    matcher = Matcher(rules)
    waiting: defaultdict[Key, list[int]] = defaultdict(list)
    for number, step in enumerate(first):
        waiting[matcher.key(step.request)].append(number)
    free = list(range(len(first)))
    answers: defaultdict[str, list[str]] = defaultdict(list)
    pairs: list[PairedStep] = []
    for number, step in enumerate(second):
        request = _with_answers(step.request, answers)
        found = waiting.get(matcher.key(request))
        near = found[0] if found else _nearest(matcher, first, free, request)
        pairs.append(PairedStep(number, near, request, is_equal=bool(found)))
        if near is None:
            continue
        free.remove(near)
        waiting[matcher.key(first[near].request)].remove(near)
        for name, text in step.answer.items():
            before = first[near].answer.get(name)
            if before is not None:
                answers[text].append(before)
    return pairs


def _nearest(matcher: Matcher, run: Steps, free: Sequence[int], request: Request) -> int | None:
    """The request of a run that resembles one most, among the next that have no partner yet; the earlier of equals."""
    best, found = FLOOR, None
    compared = matcher.compared(request)
    for number in free[:WINDOW]:
        candidate = matcher.compared(run[number].request)
        if candidate.method != compared.method or _endpoint(candidate.path) != _endpoint(compared.path):
            continue
        alike = similarity(candidate, compared)
        if alike > best or (found is None and alike >= best):
            best, found = alike, number
    return found


_EVERY = normalisers(tuple(BUILT_IN))


def _endpoint(path: str) -> str:
    """A path in which ids are all the same."""
    for normaliser in _EVERY:
        path = normaliser.of(path, {})
    return re.sub(r":\d+>", ">", path)
