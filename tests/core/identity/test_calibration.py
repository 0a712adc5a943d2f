"""Rules for an agent whose prompts hold what changes from run to run: enough for a third run, and no more."""

from __future__ import annotations

import random
import uuid
from typing import Any

import orjson
import pytest

from replayproxy.core.identity.calibration import Calibration, MissedPlace, calibrate, rules_for
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.identity.run_alignment import RunStep
from replayproxy.model import Request
from tests.core.identity.test_rules import DIFFERENT

BASE = MatchRules()


def chat(messages: list[dict[str, Any]], **more: Any) -> Request:
    """A chat request."""
    return Request("POST", "/v1/chat/completions", (), orjson.dumps({"model": "m", "messages": messages} | more))


def agent(seed: int, turns: int = 5) -> list[RunStep]:
    """One run: a date, a uuid, a temporary path, a fresh tool-call id; its server's words differ every time."""
    chance = random.Random(seed)
    day, session = f"2026-11-{10 + seed:02d}", uuid.UUID(int=chance.getrandbits(128), version=4)
    name = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz0123456789_", k=8))
    folder = f"/tmp/agent-{name}"  # noqa: S108  a text in a prompt
    system = f"You are an agent. Today is {day}. Session: {session}. Work in {folder}/src."
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": system},
        {"role": "user", "content": "Sum the numbers of data.csv, which is due on 2026-12-24."},
    ]
    steps = []
    for turn in range(turns):
        said = " ".join(chance.choices(["blue", "red", "green", "house", "sea"], k=6))
        steps.append(RunStep(chat(list(messages), x_run=str(session)), {"content 0": said}))
        call = f"call_{chance.getrandbits(96):024x}"
        function = {"name": "read", "arguments": orjson.dumps({"path": f"{folder}/src/f{turn}.csv"}).decode()}
        messages += [
            {
                "role": "assistant",
                "content": said,
                "tool_calls": [{"id": call, "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": call, "content": f"f{turn}.csv, read at {day}T10:{turn + 10}:01Z"},
        ]
    return steps


def replayed(recorded: list[RunStep], run: list[RunStep], rules: MatchRules) -> list[bool]:
    """Which requests of a run find the recording, its client having got the recorded answers."""
    matcher = Matcher(rules)
    answers = {step.answer["content 0"]: other.answer["content 0"] for step, other in zip(run, recorded, strict=True)}
    found = []
    for step, other in zip(run, recorded, strict=True):
        body = step.request.body.decode()
        for text, before in answers.items():
            body = body.replace(text, before)
        found.append(matcher.key(Request("POST", step.request.target, (), body.encode())) == matcher.key(other.request))
    return found


@pytest.fixture(scope="module", params=[False, True], ids=["narrow", "by name"])
def found(request: pytest.FixtureRequest) -> Calibration:
    """Two runs."""
    return calibrate(agent(1), agent(2), BASE, by_name=request.param)


def test_the_second_run_finds_its_recordings(found: Calibration) -> None:
    """None of them before."""
    assert (found.requests, found.before, found.after) == ((5, 5), 0, 5)
    assert (found.unexplained, found.is_safe) == ((), True)


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_so_does_every_later_run(found: Calibration, seed: int) -> None:
    """100 %, with values that were never seen."""
    assert replayed(agent(1), agent(seed), found.rules) == [True] * 5


@pytest.mark.parametrize("pair", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_what_must_differ_still_differs(found: Calibration, pair: tuple[Request, Request]) -> None:
    """Every pair that the default rules keep apart."""
    matcher = Matcher(found.rules)
    assert matcher.key(pair[0]) != matcher.key(pair[1])


ELSEWHERE = [
    ("Sum up 2026-11-01.", "Sum up 2026-11-02."),
    ("Order 11111111-2222-4333-8444-555555555555?", "Order 21111111-2222-4333-8444-555555555555?"),
    ("Delete /tmp/a/b", "Delete /tmp/a/c"),
    ("At 2026-11-01T10:00:00Z?", "At 2026-11-01T11:00:00Z?"),
]


@pytest.mark.parametrize(("first", "second"), ELSEWHERE)
def test_a_date_elsewhere_still_counts(first: str, second: str) -> None:
    """Rules are narrow: they hold on to the words before what varied."""
    matcher = Matcher(calibrate(agent(1), agent(2), BASE).rules)
    keys = [matcher.key(chat([{"role": "user", "content": text}])) for text in (first, second)]
    assert keys[0] != keys[1]


def test_every_rule_has_its_evidence(found: Calibration) -> None:
    """Where, and both values."""
    values = {(proposal.evidence.first, proposal.evidence.second) for proposal in found.proposals}
    assert ("2026-11-11", "2026-11-12") in values
    assert all(proposal.evidence.path.startswith("$.") for proposal in found.proposals)
    assert {proposal.option for proposal in found.proposals} == {"match_ignore", "match_normalise"}
    assert "$.x_run" in found.rules.ignore


def test_runs_that_agree_need_no_rule() -> None:
    """Nothing is proposed for nothing."""
    found = calibrate(agent(1), agent(1), BASE)
    assert (found.before, found.after, found.proposals) == (5, 5, ())


def test_another_question_is_not_explained_away() -> None:
    """No rule makes two questions equal; the place is named."""
    first, second = (
        [RunStep(chat([{"role": "user", "content": text}]))]
        for text in ("Name a city that lies on a river.", "Name all the planets in their order, would you?")
    )
    found = calibrate(first, second, BASE)
    assert (found.after, found.proposals, len(found.unexplained)) == (0, (), 1)


@pytest.mark.parametrize("field", ["temperature", "seed", "model"])
def test_settings_of_the_answer(field: str) -> None:
    """A seed that is drawn anew may be ignored, and is shown; the model never is."""
    text = "Name a city that lies on a river, and say why."
    first, second = ([RunStep(chat([{"role": "user", "content": text}], **{field: value}))] for value in (1, 2))
    found = calibrate(first, second, BASE)
    assert found.rules.ignore == (() if field == "model" else (f"$.{field}",))


def test_requests_that_fall_together_are_named() -> None:
    """Unsafe where both runs asked them equally: what the rule drops is not what varies."""
    stable = [RunStep(chat([{"role": "user", "content": f"Ticket number {number}: what is it?"}])) for number in (1, 2)]
    first, second = (
        [*stable, RunStep(chat([{"role": "user", "content": f"Ticket number {number}: what is it?"}]))]
        for number in (77, 88)
    )
    found = calibrate(first, second, BASE)
    assert found.after == 3
    assert not found.is_safe
    assert any(group.stable and len(group.requests) == 3 for group in found.merged)


def test_rules_from_the_misses_of_a_run() -> None:
    """From shortened texts; where a value was cut, by its name."""
    places = [
        MissedPlace(
            "$.messages[0].content", "…you are. Today is 2026-11-17. And th…", "…you are. Today is 2026-11-18. And th…"
        ),
        MissedPlace("$.messages[1].content", "…id 11111111-22…", "…id 21111111-22…", "uuid"),
        MissedPlace("$.seed", "1", "2"),
        MissedPlace("$.messages", "x", "x"),
    ]
    rules, proposals = rules_for(places, BASE)
    assert [proposal.value for proposal in proposals][1:] == ["uuid", "$.seed"]
    assert rules.normalise[0].startswith("today=")
    keys = {
        Matcher(rules).key(chat([{"role": "user", "content": f"Hm, you are. Today is 2026-11-{day}."}]))
        for day in (17, 18)
    }
    assert len(keys) == 1
