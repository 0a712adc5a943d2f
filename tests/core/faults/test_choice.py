"""Which request gets which fault: the same for every order of arrival, unless the fault counts."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from replayproxy.core.faults import choice
from replayproxy.core.faults.choice import FailureInjection, FaultChooser, FaultSubject
from replayproxy.core.faults.grammar import parse_fault

CHAT = "/v1/chat/completions"


def asks(
    key: str = "k", path: str = CHAT, model: str | None = "m", scope: str = "", method: str = "POST"
) -> FaultSubject:
    """A request, as a choice sees it."""
    return FaultSubject(method, path, model, key, scope)


def chosen(chooser: FaultChooser, *subjects: FaultSubject) -> list[str]:
    """The fault of each in turn; `-` for none."""
    return [getattr(chooser.choose(subject), "text", "-") for subject in subjects]


def of(*texts: str, seed: int = 0) -> FaultChooser:
    """A chooser of these faults."""
    return FaultChooser([parse_fault(text) for text in texts], seed=seed)


def test_a_rate_follows_from_seed_key_and_occurrence_alone() -> None:
    """A thousand requests in any order get the same faults; another seed gives others."""
    subjects = [asks(f"key {number % 500}") for number in range(1000)]
    orders = []
    for shuffle in (1, 2):
        chooser, order = of("cut@1,rate=0.3"), list(subjects)
        random.Random(shuffle).shuffle(order)
        seen: Counter[str] = Counter()
        got = {}
        for subject in order:
            got[subject.key, seen[subject.key]] = chooser.choose(subject) is not None
            seen[subject.key] += 1
        orders.append(got)
    assert orders[0] == orders[1]
    assert 250 < sum(orders[0].values()) < 350
    other = of("cut@1,rate=0.3", seed=1)
    assert [other.choose(subject) is not None for subject in subjects] != [
        of("cut@1,rate=0.3").choose(subject) is not None for subject in subjects
    ]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("cut@1,first=2",), "cut@1,first=2 cut@1,first=2 - - - -"),
        (("cut@1,every=3",), "- - cut@1,every=3 - - cut@1,every=3"),
        (("cut@1,every=2,first=1",), "- cut@1,every=2,first=1 - - - -"),
        (("cut@1,first=1", "cut@2,first=1"), "cut@1,first=1 cut@2,first=1 - - - -"),
        (("cut@1,rate=0", "cut@2,every=2"), "- cut@2,every=2 - cut@2,every=2 - cut@2,every=2"),
    ],
)
def test_counts_count_in_order(texts: tuple[str, ...], expected: str) -> None:
    """The first ones, each n-th one; the first fault that fits counts."""
    assert chosen(of(*texts), *[asks() for _ in range(6)]) == expected.split()


@pytest.mark.parametrize(
    ("text", "subject", "fits"),
    [
        ("cut@1", asks(path="/health"), False),
        ("cut@1", asks(path="/ready", method="GET"), False),
        ("cut@1,path=/health", asks(path="/health", method="GET"), True),
        ("cut@1,path=/v1/*", asks(), True),
        ("cut@1,path=/v1/completions", asks(), False),
        ("cut@1,model=m*", asks(model="mini"), True),
        ("cut@1,model=m*", asks(model=None), False),
        ("cut@1", asks(method="OPTIONS"), False),
    ],
)
def test_a_fault_fits_path_and_model(text: str, subject: FaultSubject, fits: bool) -> None:
    """Globs; a preflight never gets one, and what orchestrators ask only where a path names it."""
    assert (of(text).choose(subject) is not None) is fits


def test_scopes_count_for_themselves() -> None:
    """Parallel tests do not take one another's faults; a scope that is reset begins anew."""
    chooser = of("cut@1,first=1")
    assert chosen(chooser, asks(scope="a"), asks(scope="b"), asks(scope="a")) == ["cut@1,first=1"] * 2 + ["-"]
    chooser.reset("a")
    assert chosen(chooser, asks(scope="a"), asks(scope="b")) == ["cut@1,first=1", "-"]


def test_a_header_comes_before_the_rest() -> None:
    """And counts for its own request, by its rate."""
    chooser = of("cut@1")
    assert chooser.choose(asks(), parse_fault("reset@0")) == parse_fault("reset@0")
    assert chooser.choose(asks(), parse_fault("reset@0,rate=0")) is None


def test_failures_are_drawn_as_percent_of_generation() -> None:
    """Of 4 000 requests about a quarter, each type about equally often; other paths get none."""
    chooser = FaultChooser((), FailureInjection(25, ("rate_limit", "server_error")), seed=3)
    drawn = Counter(chosen(chooser, *[asks(f"{number}") for number in range(4000)]))
    assert 900 < 4000 - drawn["-"] < 1100
    assert set(drawn) == {"-", "failure=rate_limit", "failure=server_error"}
    assert abs(drawn["failure=rate_limit"] - drawn["failure=server_error"]) < 150
    everything = FaultChooser((), FailureInjection(100), seed=3)
    assert chosen(everything, asks(path="/v1/embeddings"), asks(path="/v1/models", method="GET")) == ["-", "-"]
    kinds = set(chosen(everything, *[asks(f"{number}") for number in range(100)]))
    assert len(kinds) == 6
    assert "-" not in kinds


def test_what_is_counted_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of scopes and keys makes the oldest ones forgotten."""
    monkeypatch.setattr(choice, "MOST_LISTS", 10)
    chooser = of("cut@1,first=1")
    chosen(chooser, *[asks(f"{number}", scope=f"{number}") for number in range(11)])
    assert chosen(chooser, asks(scope="0"), asks(scope="10")) == ["cut@1,first=1", "-"]
