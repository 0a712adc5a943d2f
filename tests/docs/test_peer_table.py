"""The table of what other simulators have cannot lie: each test that it names exists, and nothing is left out."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from replayproxy.cli.peer_flags import WITHOUT_EFFECT
from tests.setting_table.test_simulated_state import NAMES
from tools.peer_table import AIBRIX, DOCUMENTS, FILE, LLM_D, MOCK_MODEL, PeerRow, page

TESTS = Path(__file__).parents[1]

ROWS = [row for rows in DOCUMENTS.values() for row in rows]


def names(rows: tuple[PeerRow, ...], *kinds: str) -> set[str]:
    """What rows of these kinds name."""
    return {name for row in rows if row.kind in kinds for name in row.names.split(", ")}


@pytest.mark.parametrize("shown", sorted({row.shown for row in ROWS if row.is_tested}))
def test_each_test_that_it_names_exists(shown: str) -> None:
    """In that file."""
    file, _, name = shown.partition("::")
    functions = {node.name for node in ast.parse((TESTS / file).read_text()).body if isinstance(node, ast.FunctionDef)}
    assert name in functions


def test_the_page_has_the_table_as_it_is() -> None:
    """`make reference` writes it."""
    assert FILE.read_text("utf-8") == page()


def test_all_flags_of_llm_d_inference_sim_are_there() -> None:
    """Those of its documentation each with a row, and those of later versions without effect too."""
    documented = set(NAMES.split("max-waiting-queue-length")[0].split())
    assert names(LLM_D, "flag") == documented
    later = {name for name in WITHOUT_EFFECT - documented if not name.startswith("no-")}
    assert later - {"time-to-generate-image-std-dev"} <= names(LLM_D, "later flag")


def test_what_has_no_effect_says_so() -> None:
    """And what has a test has one."""
    for row in LLM_D:
        if row.kind.endswith("flag") and not row.is_tested:
            assert set(row.names.split(", ")) & WITHOUT_EFFECT


FAILURES = "rate_limit invalid_api_key context_length server_error invalid_request model_not_found"
METRICS = "gpu_cache_usage_perc lora_requests_info num_requests_running num_requests_waiting"
ENDPOINTS = (
    "/v1/chat/completions /v1/completions /v1/models /v1/load_lora_adapter /v1/unload_lora_adapter /metrics /health"
    " /ready"
)


@pytest.mark.parametrize(
    ("rows", "kind", "expected"),
    [
        (LLM_D, "failure", set(FAILURES.split())),
        (LLM_D, "metric", {f"vllm:{name}" for name in METRICS.split()}),
        (LLM_D, "fake metric", {"running-requests", "waiting-requests", "kv-cache-usage", "loras"}),
        (LLM_D, "endpoint", set(ENDPOINTS.split())),
        (AIBRIX, "endpoint", {"POST /v1/chat/completions", "GET /metrics", "POST /set_metrics"}),
        (MOCK_MODEL, "mode", {"RANDOM_MODE", "CAPTURE_MODE", "REPLAY_MODE"}),
    ],
)
def test_nothing_of_a_kind_is_left_out(rows: tuple[PeerRow, ...], kind: str, expected: set[str]) -> None:
    """Of what the documents list."""
    assert names(rows, kind) == expected


def test_each_row_says_something() -> None:
    """A test, or a sentence."""
    assert all(row.is_tested or " " in row.shown for row in ROWS)
