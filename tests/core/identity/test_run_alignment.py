"""Which request of a second run stands for which of the first."""

from __future__ import annotations

from typing import Any

import orjson

from replayproxy.core.identity.rules import MatchRules
from replayproxy.core.identity.run_alignment import RunStep, pair_steps
from replayproxy.model import Request

RULES = MatchRules()


def step(*contents: str, answer: dict[str, str] | None = None, path: str = "/v1/chat/completions") -> RunStep:
    """A chat with these messages."""
    body = {"model": "m", "messages": [{"role": "user", "content": content} for content in contents]}
    return RunStep(Request("POST", path, (), orjson.dumps(body)), answer or {})


def aligned(first: list[RunStep], second: list[RunStep]) -> list[tuple[int, int | None, bool]]:
    """Places, and whether the keys are equal."""
    return [(pair.second, pair.first, pair.is_equal) for pair in pair_steps(first, second, RULES)]


LONG = "Sum the numbers of the file and write the result down, please. Date: "


def test_equal_keys_meet_first_and_near_texts_then() -> None:
    """Whatever the order; what resembles nothing has no partner."""
    first = [step(LONG + "1"), step("exactly the same"), step(LONG + "2")]
    second = [step("exactly the same"), step(LONG + "3"), step("quite another thing"), step(LONG + "4")]
    assert aligned(first, second) == [(0, 1, True), (1, 0, False), (2, None, False), (3, 2, False)]


def test_what_an_answer_brought_is_put_back() -> None:
    """Each run has the answers of its own server in its next request; in a replay it would have the recorded ones."""
    first = [step("ask", answer={"content 0": "blue", "call 0 0 id": "call_1"}), step("ask", "blue", "call_1")]
    second = [step("ask", answer={"content 0": "red", "call 0 0 id": "call_2"}), step("ask", "red", "call_2")]
    assert aligned(first, second) == [(0, 0, True), (1, 1, True)]


def test_answers_with_one_text_are_put_back_in_their_order() -> None:
    """Such as empty ones; an empty text that is no answer stays."""

    def run(*answers: str) -> list[RunStep]:
        steps, messages = [], [{"role": "user", "content": "ask", "name": ""}]
        for text in answers:
            body = orjson.dumps({"model": "m", "messages": messages})
            steps.append(RunStep(Request("POST", "/v1/chat/completions", (), body), {"content 0": text}))
            messages = [*messages, {"role": "assistant", "content": text}, {"role": "user", "content": "go on"}]
        return steps

    first, second = run("blue", "", "red", ""), run("", "", "x", "y")
    assert aligned(first, second) == [(number, number, True) for number in range(4)]
    assert aligned(second, first) == [(number, number, True) for number in range(4)]


def test_other_endpoints_are_other_requests() -> None:
    """But ids in a path do not make another endpoint."""
    ids = "11111111-2222-4333-8444-555555555555", "21111111-2222-4333-8444-555555555555"
    paths = [f"/v1/threads/{one}/runs" for one in ids]
    assert aligned([step(LONG, path=paths[0])], [step(LONG, path=paths[1])]) == [(0, 0, False)]
    assert aligned([step(LONG, path="/v1/a")], [step(LONG, path="/v1/b")]) == [(0, None, False)]


def test_a_body_that_is_no_json_stays_as_it_is() -> None:
    """Bytes, after an answer that differed."""
    audio: Any = RunStep(Request("POST", "/v1/audio", (), b"\xff\x00"))
    first, second = ([step("ask", answer={"content 0": text}), audio] for text in ("blue", "red"))
    assert aligned(first, second) == [(0, 0, True), (1, 1, True)]
