"""Numbers of a scenario: FTL, TPS, stalls, quality, hit rates."""

from __future__ import annotations

import asyncio

import pytest

from replayproxy.drive.driver import DriveLimits
from replayproxy.drive.scenario_results import (
    PhaseResult,
    UserResult,
    counters_of,
    csv_row,
    hits_of,
    phase_result,
    quality_of,
    stalled_by,
    stalls_of,
    theoretical_hits,
)
from tests.doubles.driving import MS, drove, streamed_text, turn
from tests.doubles.fakes import answer

PAGE = """# HELP vllm:prefix_cache_queries_total Queried tokens.
vllm:prefix_cache_queries_total{engine="0",model_name="a b"} %s
vllm:prefix_cache_queries_created{engine="0"} 1.7e9
vllm:prefix_cache_hits_total{engine="0"} %s
vllm:prefix_cache_hits_total{engine="1"} 0.0
"""


def user(name: str = "run_1", **more: object) -> UserResult:
    """One request of a phase."""
    values: dict[str, object] = {
        "is_ok": True, "ftl": 0.1, "tps": 10.0, "total": 1.0, "prompt_tokens": 100, "output_tokens": 9,
        "cached_tokens": None, "text": "a", "quality": (),
    }  # fmt: skip
    return UserResult(name=name, **{**values, **more})  # type: ignore[arg-type]  # given by name, some other


def test_a_phase_is_measured() -> None:
    """Two users at once: role at 10 ms, words at 15, 20, 25 ms."""
    turns = [turn(0), turn(1)]
    found = asyncio.run(drove(turns, streamed_text("a b c", usage=(7, 3)), limits=DriveLimits(keeps_answers=True)))
    phase = phase_result("run", ["run_1", "run_2"], found.driver.results, found.driver.responses, 5)
    assert phase.is_ok
    assert (phase.ftl, phase.wall) == (0.015, 0.04)
    assert phase.tps == pytest.approx(200)
    assert phase.total_tps == pytest.approx(150)
    assert [(one.name, one.text, one.prompt_tokens) for one in phase.users] == [
        ("run_1", "abc", 7),
        ("run_2", "abc", 7),
    ]
    row = csv_row(phase, {"model": "tiny"}, "now")
    assert (row["ftl_ms"], row["tps"], row["e2e_ms"], row["total_tps"], row["ok"]) == (15.0, 200.0, 40.0, 150.0, True)
    empty = PhaseResult("run", (), 0.0)
    assert (empty.ftl, empty.tps, empty.total_tps) == (None, None, None)


def test_stalls_are_gaps_of_five_times_the_usual_one() -> None:
    """With the time at which they began."""
    even = [(10 * MS * place, b"x") for place in range(6)]
    assert stalls_of(answer(*even)) == []
    assert stalls_of(answer(*even, (150 * MS, b"y"))) == [0.05]
    assert stalls_of(answer((MS, b"x"), (90 * MS, b"y"))) == []
    assert stalls_of(None) == []


def test_a_stall_is_due_to_what_was_prefilled_then() -> None:
    """The gap and the time to the first token of another request overlap."""
    decoding = user("a", begin=0.0, longest_gap=0.4, stalls=(1.0,))
    prefilled, later = user("b", begin=1.1, ftl=0.2), user("c", begin=3.0, ftl=0.2)
    assert stalled_by([decoding, prefilled, later]) == [("a", "b")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The sky is blue because of scattering.", ()),
        (" \n", ("empty",)),
        ("half a \ufffd character", ("replacement characters",)),
        ("bell \x07", ("control characters",)),
        ("again and again " * 20, ("repetition",)),
        ("yes yes yes", ()),
    ],
)
def test_garbled_texts_are_seen(text: str, found: tuple[str, ...]) -> None:
    """A short one may repeat itself."""
    assert quality_of(text) == found


def test_hit_rates_of_usage_counters_and_theory() -> None:
    """Counters change by 400 and 300; two prompts share 32 whole tokens of 40 and 48."""
    users = [user(cached_tokens=0), user(cached_tokens=50)]
    prompts = [list(range(40)), [*range(40), *range(100, 108)]]
    hits = hits_of(users, PAGE % (100, 0), PAGE % (500, 300), prompts)
    assert (hits.by_usage, hits.by_metrics) == (0.25, 0.75)
    assert hits.theoretical == pytest.approx(32 / 88)
    silent = hits_of([user()], None, None, [])
    assert (silent.by_usage, silent.by_metrics, silent.theoretical) == (None, None, None)
    assert counters_of("vllm:x nonsense\nvllm:y 2")["vllm:y"] == 2


def test_a_whole_prompt_never_hits() -> None:
    """One token must be computed, so the last block is not taken from the cache."""
    assert theoretical_hits([list(range(32)), list(range(32))]) == 16 / 64
