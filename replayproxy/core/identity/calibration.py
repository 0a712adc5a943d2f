"""Find the match rules under which two runs of one program ask the same: what varies from run to run, and nothing else.

    requests of two runs ──▶ aligned pairs ──▶ what varies in each ──▶ the narrowest rules ──▶ checked on both runs

Rules are added until the second run finds its recordings or nothing more can be explained. A rule that is known by name
(`uuid`, `tool-call-id`) is taken where it keeps apart what the narrow one keeps apart. Knows requests, not cassettes.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from replayproxy.core.identity.difference import NOTHING, different_places
from replayproxy.core.identity.rules import MOST_RULES, Matcher, MatchRules
from replayproxy.core.identity.run_alignment import Steps, pair_steps
from replayproxy.core.identity.sketch import CONVERSATION
from replayproxy.core.identity.variation import NarrowRule, Variation, narrow_rule, variations
from replayproxy.errors import SettingsError
from replayproxy.model import Key, Request

ROUNDS = 6
"""A rule may uncover what another one hid; after so many rounds what is left is not a variation."""

SHOWN = 8
"""Differences kept of a request that is not explained."""

_ID = re.compile(r"\.(?:id|[a-z_]*_id|call_id)$")

_INDEX = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a rule is proposed: where, and the values of both runs. `times`: in how many places it was seen."""

    path: str
    first: str
    second: str
    times: int = 1


@dataclass(frozen=True, slots=True)
class Proposal:
    """One rule. `option` is `match_ignore` or `match_normalise`."""

    option: str
    value: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Unexplained:
    """A request of the second run without a recording: the nearest one, by its place, and where they differ."""

    second: int
    first: int | None
    places: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Merged:
    """Different requests of one run that the rules make equal, by their places, and where they differ."""

    run: int
    requests: tuple[int, ...]
    paths: tuple[str, ...]
    stable: bool
    """Whether one of them is asked equally in both runs: then what the rules drop is not what varies."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was found. `before` and `after`: requests of the second run that find a recording of the first."""

    requests: tuple[int, int]
    before: int
    after: int
    rules: MatchRules
    proposals: tuple[Proposal, ...]
    unexplained: tuple[Unexplained, ...] = ()
    merged: tuple[Merged, ...] = ()

    @property
    def is_safe(self) -> bool:
        """Whether no request that both runs asked equally falls together with another one."""
        return not any(group.stable for group in self.merged)


def calibrate(first: Steps, second: Steps, base: MatchRules, *, by_name: bool = False) -> Calibration:
    """Find rules. `by_name`: prefer normalisers with a name, which read better and are broader."""
    search = _Search(first, second, base, by_name=by_name)
    search.run()
    return search.result()


@dataclass(slots=True)
class _Search:
    first: Steps
    second: Steps
    base: MatchRules
    by_name: bool
    rules: MatchRules = field(init=False)
    narrow: dict[str, NarrowRule] = field(default_factory=dict)
    proposals: dict[tuple[str, str], Proposal] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rules = self.base

    def run(self) -> None:
        for _ in range(ROUNDS):
            proposed = set(self.proposals)
            for one, other in self._aligned():
                self._explain(one, other)
            if proposed == set(self.proposals):
                return

    # Rules

    def _explain(self, one: Request, other: Request) -> None:
        matcher = Matcher(self.rules)
        for path, before, after in different_places(matcher.compared(one), matcher.compared(other)):
            for option, value, evidence in self.candidates(path, before, after):
                self.add(option, value, evidence)

    def candidates(self, path: str, before: Any, after: Any) -> Iterator[tuple[str, str, Evidence]]:
        """Rules that may explain a difference: option, value, and why."""
        if isinstance(before, str) and isinstance(after, str) and path != "$":
            found = variations(before, after)
            if found is None:
                return
            for variation in found:
                evidence = Evidence(path, variation.first, variation.second)
                if (rule := self._rule(path, variation)) is not None:
                    yield (*rule, evidence)
        elif _may_be_ignored(path, before, after):
            yield "match_ignore", _general(path), Evidence(path, _shown(before), _shown(after))

    def _rule(self, path: str, variation: Variation) -> tuple[str, str] | None:
        is_field = path.startswith("$.") and not _is_text(path)
        if variation.whole and variation.kind == "tool-call-id":
            return "match_normalise", "tool-call-id"
        if variation.whole and is_field:
            return ("match_ignore", _general(path)) if _is_free(path) else None
        found = narrow_rule(variation)
        narrow = None if found is None else self._named(found)
        if variation.kind is not None and (narrow is None or self._as_narrow(variation.kind, narrow)):
            return "match_normalise", variation.kind
        return None if narrow is None else ("match_normalise", narrow)

    def _named(self, found: NarrowRule) -> str:
        """The rule with a name; one that is there already with the same end is made to fit both."""
        for value, there in list(self.narrow.items()):
            if there == found:
                return value
            both = there.joined(found)
            if both is not None:
                names = [rule.partition("=")[0] for rule in self.rules.normalise if rule != value]
                return self._replace(value, both.value(names), both)
        value = found.value([rule.partition("=")[0] for rule in self.rules.normalise])
        self.narrow[value] = found
        return value

    def _replace(self, value: str, better: str, rule: NarrowRule) -> str:
        """Put one rule in the place of another."""
        if better == value:
            return value
        normalise = tuple(better if one == value else one for one in self.rules.normalise)
        self.rules = replace(self.rules, normalise=tuple(dict.fromkeys(normalise)))
        del self.narrow[value]
        self.narrow[better] = rule
        there = self.proposals.pop(("match_normalise", value), None)
        if there is not None:
            self.proposals["match_normalise", better] = replace(there, value=better)
        return better

    def _as_narrow(self, name: str, narrow: str) -> bool:
        """Whether the normaliser of this name is wanted in place of a narrow rule, and keeps as much apart."""
        if not self.by_name:
            return False
        return all(
            self._distinct(run, _with(self.rules, "match_normalise", name))
            == self._distinct(run, _with(self.rules, "match_normalise", narrow))
            for run in (self.first, self.second)
        )

    @staticmethod
    def _distinct(run: Steps, rules: MatchRules) -> int:
        return len(set(_keys([step.request for step in run], rules)))

    def add(self, option: str, value: str, evidence: Evidence) -> None:
        """Take a rule, unless it is there already or cannot be used."""
        place = (option, value)
        if (there := self.proposals.get(place)) is not None:
            seen = replace(there.evidence, times=there.evidence.times + 1)
            self.proposals[place] = replace(there, evidence=seen)
            return
        if value in (self.rules.normalise if option == "match_normalise" else self.rules.ignore):
            return
        if len(self.rules.normalise) + len(self.rules.ignore) >= MOST_RULES // 2:
            return
        try:
            rules = _with(self.rules, option, value)
            Matcher(rules)
        except SettingsError:
            return
        self.rules = rules
        self.proposals[place] = Proposal(option, value, evidence)

    # Pairs

    def _aligned(self) -> list[tuple[Request, Request]]:
        """Requests of the second run that find nothing, each with the request of the first that it stands for."""
        return [
            (self.first[pair.first].request, pair.request)
            for pair in pair_steps(self.first, self.second, self.rules)
            if pair.first is not None and not pair.is_equal
        ]

    # The result

    def result(self) -> Calibration:
        before, after = (
            sum(pair.is_equal for pair in pair_steps(self.first, self.second, rules))
            for rules in (self.base, self.rules)
        )
        runs = (
            [step.request for step in self.first],
            [pair.request for pair in pair_steps(self.first, self.second, self.base)],
        )
        return Calibration(
            requests=(len(self.first), len(self.second)),
            before=before,
            after=after,
            rules=self.rules,
            proposals=tuple(self.proposals.values()),
            unexplained=tuple(self._unexplained()),
            merged=tuple(
                group
                for place, (run, other) in enumerate((runs, runs[::-1]))
                for group in merged(run, other, self.base, self.rules, place)
            ),
        )

    def _unexplained(self) -> Iterator[Unexplained]:
        matcher = Matcher(self.rules)
        for pair in pair_steps(self.first, self.second, self.rules):
            if pair.is_equal:
                continue
            places: list[Evidence] = []
            if pair.first is not None:
                one, other = (matcher.compared(step) for step in (self.first[pair.first].request, pair.request))
                found = islice(different_places(one, other), SHOWN)
                places = [Evidence(path, _shown(before), _shown(after)) for path, before, after in found]
            yield Unexplained(pair.second, pair.first, tuple(places))


def merged(
    run: Sequence[Request], other: Sequence[Request], base: MatchRules, rules: MatchRules, place: int = 0
) -> Iterator[Merged]:
    """Requests of one run that are different by `base` and equal by `rules`."""
    before, theirs = _keys(run, base), set(_keys(other, base))
    groups: defaultdict[Key, dict[Key, int]] = defaultdict(dict)
    for number, key in enumerate(_keys(run, rules)):
        groups[key].setdefault(before[number], number)
    matcher = Matcher(base)
    for group in groups.values():
        if len(group) < 2:
            continue
        first, *others = (matcher.compared(run[number]) for number in group.values())
        paths = {path: None for one in others for path, _, _ in different_places(first, one)}
        yield Merged(place, tuple(group.values()), tuple(paths), any(key in theirs for key in group))


def _keys(run: Sequence[Request], rules: MatchRules) -> list[Key]:
    matcher = Matcher(rules)
    return [matcher.key(request) for request in run]


# The misses of a run


@dataclass(frozen=True, slots=True)
class MissedPlace:
    """One difference between a miss and its nearest recording, as a report has it: texts shortened around it."""

    path: str
    recorded: str
    received: str
    looks_like: str | None = None


def rules_for(places: Sequence[MissedPlace], base: MatchRules) -> tuple[MatchRules, tuple[Proposal, ...]]:
    """Rules for the differences of misses."""
    search = _Search((), (), base, by_name=False)
    for place in places:
        before, after = (_without_cut_words(text) for text in (place.recorded, place.received))
        found = list(search.candidates(place.path, before, after)) if before != after else []
        if not found and place.looks_like is not None:
            found = [("match_normalise", place.looks_like, Evidence(place.path, place.recorded, place.received))]
        for option, value, evidence in found:
            search.add(option, value, evidence)
    return search.rules, tuple(search.proposals.values())


def _without_cut_words(text: str) -> str:
    """A shortened text without the halves of words at its ends."""
    if text.startswith("…"):
        text = re.sub(r"^…[^\s]*", "", text)
    return re.sub(r"[^\s]*…$", "", text)


# What may be ignored


def _is_text(path: str) -> bool:
    """Whether a value is what somebody says: a rule that drops all of it would make every request equal."""
    return _INDEX.sub("", path).rpartition(".")[2] in (
        "content",
        "text",
        "prompt",
        "input",
        "instructions",
        "arguments",
    )


def _is_free(path: str) -> bool:
    """Whether a field may be ignored whole: it is not of the conversation, or it is an id within it."""
    root = _INDEX.sub("", path).split(".")[1] if "." in path else ""
    if root in ("model", "tools", "stream", "n"):
        return False
    return root not in CONVERSATION or _ID.search(_INDEX.sub("", path)) is not None


def _may_be_ignored(path: str, before: Any, after: Any) -> bool:
    if not path.startswith("$.") or not _is_free(path):
        return False
    return all(value is NOTHING or not isinstance(value, dict | list) for value in (before, after))


def _general(path: str) -> str:
    """The same field of every message and call."""
    return _INDEX.sub("[*]", path)


def _with(rules: MatchRules, option: str, value: str) -> MatchRules:
    if option == "match_ignore":
        return replace(rules, ignore=(*rules.ignore, value))
    return replace(rules, normalise=(*rules.normalise, value))


def _shown(value: Any) -> str:
    if value is NOTHING:
        return "(absent)"
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
