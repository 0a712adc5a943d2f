"""Runs on a virtual clock: arrivals, turns, histories, cancellations, limits, interruptions."""

from __future__ import annotations

import asyncio

import orjson

from replayproxy.drive.arrivals import ArrivalProcess
from replayproxy.drive.driver import DriveLimits
from replayproxy.drive.plan import PlanOptions
from replayproxy.drive.recorded import Thread
from replayproxy.errors import UpstreamError, UpstreamGarbled, UpstreamTimeout, UpstreamUnreachable
from replayproxy.model import Ending, Response
from tests.doubles.driving import MS, chat_request, drove, message_answer, streamed_text, threaded, turn
from tests.doubles.fakes import answer

ALICE = Thread(key="alice")


def test_a_slow_server_does_not_slow_arrivals_down() -> None:
    """Open loop: all are sent at their times, although each answer takes a second."""
    found = asyncio.run(drove([turn(number, 100 * number) for number in range(5)], answer((1000 * MS, b"x"))))
    assert found.sent == [(0, 0), (1, 100), (2, 200), (3, 300), (4, 400)]
    assert found.driver.most_in_flight == 5
    assert [one.lateness for one in found.driver.results] == [0] * 5


def test_a_turn_waits_for_the_answer_before_it() -> None:
    """The first answer takes longer than it did: the second turn is sent at its end, the third at its time."""
    turns = [turn(1, 0, thread=ALICE), turn(2, 300, thread=ALICE), turn(3, 2500, thread=ALICE), turn(4, 310)]
    found = asyncio.run(drove(turns, answer((1000 * MS, b"x"))))
    assert dict(found.sent) == {1: 0, 2: 1000, 3: 2500, 4: 310}
    second = next(one for one in found.driver.results if one.planned.turn.number == 2)
    assert (second.scheduled, second.eligible, second.lateness) == (300 * MS, 1000 * MS, 0)


def test_a_recorded_pause_is_kept() -> None:
    """`think`: 200 ms after the answer, which takes 50 ms now."""
    turns = [turn(1, 0, thread=ALICE), turn(2, 300, thread=ALICE)]
    found = asyncio.run(drove(turns, answer((50 * MS, b"x")), options=PlanOptions(turns="think")))
    assert found.sent == [(1, 0), (2, 250)]


def test_users_take_one_session_after_the_other() -> None:
    """Two users, three sessions; the third begins when one of the first two has ended."""
    turns = [turn(1, 0), turn(2, 1, thread=ALICE), turn(3, 2), turn(4, 500, thread=ALICE)]
    found = asyncio.run(drove(turns, answer((100 * MS, b"x")), options=PlanOptions(concurrency=2)))
    assert sorted(found.sent) == [(1, 0), (2, 0), (3, 100), (4, 100)]
    ramped = asyncio.run(
        drove(turns[:1] + turns[2:3], answer((100 * MS, b"x")), options=PlanOptions(concurrency=2, ramp=1))
    )
    assert sorted(ramped.sent) == [(1, 0), (3, 100)]  # the second user would begin at 500 ms; the first one is free


def test_a_rate_is_kept() -> None:
    """Ten per second, whatever was recorded."""
    options = PlanOptions(process=ArrivalProcess(10, None))
    found = asyncio.run(drove([turn(1), turn(2), turn(3)], options=options))
    assert found.sent == [(1, 0), (2, 100), (3, 200)]


def test_failures_are_told_apart() -> None:
    """By what the server did."""
    turns = [turn(number, 10 * number) for number in range(7)]
    answers: list[Response | UpstreamError] = [
        streamed_text("a"), answer(status=500), UpstreamUnreachable("no"), UpstreamGarbled("?"), UpstreamTimeout("t"),
        answer((MS, b"x"), ending=Ending.UPSTREAM_CUT), answer((MS, b"x"), ending=Ending.TIMEOUT),
    ]  # fmt: skip
    found = asyncio.run(drove(turns, *answers))
    assert found.outcomes == [
        "ok", "http_error", "unreachable", "protocol_error", "timeout", "truncated", "timeout",
    ]  # fmt: skip
    assert [one.reason for one in found.driver.results][1:4] == ["status 500", "no", "?"]


def test_a_turn_follows_also_a_failure() -> None:
    """Its recorded history does not need the live answer."""
    found = asyncio.run(
        drove([turn(1, thread=ALICE), turn(2, 300, thread=ALICE)], UpstreamUnreachable("no"), streamed_text("a"))
    )
    assert found.outcomes == ["unreachable", "ok"]


def test_a_client_that_left_leaves_again() -> None:
    """100 ms after it was sent, at speed 2 after 50; unless --no-cancel."""
    left = [turn(1, took=100, client_left=True, ending="client_left")]
    for speed, ended in ((1.0, 100), (2.0, 50)):
        found = asyncio.run(drove(left, answer((10 * MS, b"x"), (900 * MS, b"y")), options=PlanOptions(speed=speed)))
        (one,) = found.driver.results
        assert (one.outcome, one.answer.end, one.answer.chunks) == ("cancelled", ended * MS, 1)
    stays = asyncio.run(drove(left, answer((900 * MS, b"y")), limits=DriveLimits(cancels=False)))
    assert stays.outcomes == ["ok"]


def test_budgets_end_a_run() -> None:
    """What would exceed them is not sent; answers in flight count as they were recorded."""
    turns = [turn(number, 10 * number, prompt_tokens=10, output_tokens=10) for number in range(5)]
    found = asyncio.run(drove(turns, answer((500 * MS, b"x")), limits=DriveLimits(budget_requests=2)))
    assert found.outcomes == ["ok", "ok", "not_sent", "not_sent", "not_sent"]
    spent = asyncio.run(drove(turns, answer((500 * MS, b"x")), limits=DriveLimits(budget_tokens=60)))
    assert spent.outcomes == ["ok", "ok", "ok", "not_sent", "not_sent"]
    assert spent.driver.results[3].reason == "--budget-tokens is used up"
    cheap = asyncio.run(
        drove(turns, streamed_text("a", at=1, gap=1, usage=(1, 1)), limits=DriveLimits(budget_tokens=30))
    )
    assert cheap.outcomes == ["ok"] * 5


def test_a_limit_of_requests_in_flight_is_shown_apart() -> None:
    """The second waits 900 ms for the first; it is not late for that."""
    found = asyncio.run(drove([turn(1), turn(2, 100)], answer((1000 * MS, b"x")), limits=DriveLimits(max_in_flight=1)))
    second = found.driver.results[1]
    assert (second.dispatched, second.waited, second.lateness) == (1000 * MS, 900 * MS, 0)


def test_a_request_that_is_too_late_is_not_sent() -> None:
    """And counted, never skipped in silence."""
    turns = [turn(1, thread=ALICE), turn(2, 200, thread=ALICE)]
    limits = DriveLimits(drop_late=0)
    found = asyncio.run(drove(turns, answer((1000 * MS, b"x")), limits=limits))
    assert found.outcomes == ["ok", "ok"]  # it could not be sent earlier, so it is not late


def test_an_interruption_sends_nothing_more() -> None:
    """What is in flight ends by itself, or is cancelled."""
    turns = [turn(number, 100 * number) for number in range(5)]
    found = asyncio.run(drove(turns, answer((1000 * MS, b"x")), stop_at=150))
    assert found.outcomes == ["ok", "ok", "not_sent", "not_sent", "not_sent"]
    assert found.driver.interrupted
    cancelled = asyncio.run(drove(turns, answer((1000 * MS, b"x")), stop_at=150, cancel_at=300))
    assert cancelled.outcomes == ["cancelled", "cancelled", "not_sent", "not_sent", "not_sent"]
    closed = asyncio.run(drove(turns, answer((100 * MS, b"x")), stop_at=150, options=PlanOptions(concurrency=1)))
    assert closed.outcomes == ["ok", "ok", "not_sent", "not_sent", "not_sent"]


def test_live_answers_stand_in_the_next_turn() -> None:
    """With `--history live`; the recorded ones stay without it."""
    first, second = chat_request("hello"), chat_request("hello", "recorded", "and?")
    turns = [
        threaded(1, first, message_answer({"role": "assistant", "content": "recorded"}), 0),
        threaded(2, second, streamed_text("x"), 500),
    ]
    for live, expected in ((True, "live"), (False, "recorded")):
        found = asyncio.run(
            drove(
                turns,
                message_answer({"role": "assistant", "content": "live"}),
                limits=DriveLimits(live_history=live),
                requests={1: first, 2: second},
            )
        )
        body = orjson.loads(found.target.received[1][1].body)
        assert [one["content"] for one in body["messages"]] == ["hello", expected, "and?"]


def test_connections_are_opened_before_they_are_needed() -> None:
    """As many as requests are due soon."""
    found = asyncio.run(drove([turn(1), turn(2), turn(3, 5000)]))
    assert found.target.opened == 2
