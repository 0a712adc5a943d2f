"""The page of a scenario: phases, failures, hit rates, stalls."""

from __future__ import annotations

import io
from dataclasses import replace

from replayproxy.cli.terminal.scenario_page import scenario_page
from replayproxy.cli.terminal.screen import Screen
from replayproxy.drive.scenario_results import CacheHits, PhaseResult
from replayproxy.scenario_run import ScenarioResult
from tests.drive.test_scenario_results import user


def test_the_page() -> None:
    """A failure has its reason; what a server does not say is not made up."""
    users = (user("run_1"), user("run_2", ftl=0.3, is_ok=False, reason="status 500", quality=("empty",)))
    phase = PhaseResult("run", users, 2.0)
    hits = CacheHits(0.5, None, 0.725)
    result = ScenarioResult("tiny", (phase,), (), hits, (("run_1", "run_2"),), is_estimated=True)
    stream = io.StringIO()
    scenario_page(result, (5, "no"), Screen(stream), checks_quality=True)
    assert stream.getvalue().splitlines() == [
        "Run  FTL 200 ms, TPS 10.0 per user, 9.0 in total",
        "request     FTL   TPS   total  prompt  cached  output  longest gap  stalls  text   failed",
        "run_1    100 ms  10.0  1.00 s     100       -       9            -       -  well   -",
        "run_2    300 ms  10.0  1.00 s     100       -       9            -       -  empty  status 500",
        "hit rate   50.0 % by usage",
        "hit rate   not stated by /metrics",
        "hit rate   72.5 % by theoretical",
        "  run_1 stalled while run_2 was prefilled",
        "  the server has no /tokenize: lengths of prompts are estimated by words",
        "exit 5 (no)",
    ]
    plain = io.StringIO()
    scenario_page(replace(result, hits=None, stalled=()), (0, "yes"), Screen(plain), checks_quality=False)
    assert "hit rate" not in plain.getvalue()
