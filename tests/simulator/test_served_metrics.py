"""The endpoints of metrics: what they show, and how values are set and given while the server runs."""

from __future__ import annotations

from typing import Any

import pytest

from replayproxy.errors import SettingsError
from replayproxy.simulator.metrics_page import CONTENT_TYPE
from tests.doubles.simulated_state import completion, server


def test_the_page_has_the_type_that_prometheus_expects() -> None:
    """And nothing of the process that serves it."""
    page = server().get("/metrics")
    assert page.fields["content-type"] == CONTENT_TYPE
    assert {line.split()[2].partition(":")[0] for line in page.body.decode().splitlines() if line[0] == "#"} == {"vllm"}


def test_a_generation_is_chosen() -> None:
    """The name of the use of the cache says which."""
    assert "kv_cache_usage_perc" in server().metrics()
    assert "gpu_cache_usage_perc" in server(metrics_of="0.9").metrics()


# /set_metrics


def test_values_are_set_and_taken_back() -> None:
    """The example of AIBrix' documentation."""
    one = server()
    answer = one.post("/set_metrics", {"gpu_cache_usage_perc": 75.0})
    assert (answer.status, answer.json) == (200, {"status": "success", "message": "Overrides updated"})
    assert one.metrics()["gpu_cache_usage_perc"] == 75
    one.post("/set_metrics", {"gpu_cache_usage_perc": None})
    assert "gpu_cache_usage_perc" not in one.metrics()


@pytest.mark.parametrize("body", [{}, b"", b"[]"])
def test_nothing_to_set(body: Any) -> None:
    """Is AIBrix' own error."""
    answer = server().post("/set_metrics", body)
    assert (answer.status, answer.json) == (400, {"status": "error", "message": "No data provided"})


def test_totals_are_shared_among_replicas() -> None:
    """100 on one replica, 20 on each of five."""
    name = "request_success_total{stop}"
    one = server(replicas=1)
    assert one.metrics()[name] == one.metrics()["avg_prompt_throughput_toks_per_s"] == 100
    one.post("/set_metrics", {"replicas": 5})
    assert one.metrics()[name] == one.metrics()["avg_generation_throughput_toks_per_s"] == 20


def test_values_to_begin_with() -> None:
    """As `/set_metrics` takes them; the load is on an endpoint of its own."""
    one = server(metrics_overrides={"running": 7, "server_load": 3, "model_name": "llama2-7b"})
    assert one.metrics()["num_requests_running"] == 7
    assert one.get("/load").json == {"server_load": 3}
    assert b'model_name="llama2-7b"' in one.get("/metrics").body
    with pytest.raises(SettingsError, match=r"--metrics-overrides .*cannot be set"):
        server(metrics_overrides={"x": 1})


def test_the_load_is_what_runs_and_waits() -> None:
    """Unless it was set."""
    one = server(max_num_seqs=1)
    *_, load = one.play(*[(0.0, "/v1/completions", completion([1, 2]))] * 3, (1.0, "/load", None))
    assert load.json == {"server_load": 3}


# Given metrics


def test_given_metrics_are_the_only_ones() -> None:
    """A function of time begins when it is given, and is computed anew at each interval."""
    one = server(fake_metrics={"running-requests": "ramp:0:100:10s"})
    pages = one.play(*((float(at), "/metrics", None) for at in (0, 1050, 5000, 20_000)))
    running = [
        line
        for page in pages
        for line in page.body.decode().splitlines()
        if line.startswith("vllm:num_requests_running")
    ]
    assert [float(line.split()[-1]) for line in running] == [0, 10, 50, 100]
    assert "request_success_total{stop}" not in one.metrics()


def test_given_metrics_change_while_the_server_runs() -> None:
    """What is not named stays; functions begin anew."""
    one = server(fake_metrics={"running-requests": 3, "waiting-requests": 4})
    answer = one.post("/fake_metrics", {"running-requests": 9})
    assert (answer.status, answer.body) == (204, b"")
    page = one.metrics()
    assert (page["num_requests_running"], page["num_requests_waiting"]) == (9, 4)


@pytest.mark.parametrize(
    ("state", "body", "status", "words"),
    [
        ({}, {"running-requests": 9}, 400, "start it with --fake-metrics"),
        ({"fake_metrics": {}}, {"running": 9}, 500, "Failed to update fake metrics: 'running' is not a fake metric"),
        ({"fake_metrics": {}}, b"[]", 500, "a JSON object"),
    ],
)
def test_given_metrics_that_are_refused(state: dict[str, Any], body: Any, status: int, words: str) -> None:
    """With the status of llm-d-inference-sim."""
    answer = server(**state).post("/fake_metrics", body)
    assert answer.error[0] == status
    assert words in answer.error[1]


def test_given_metrics_of_the_command_line_are_checked() -> None:
    """At the start."""
    with pytest.raises(SettingsError, match=r"--fake-metrics .*share from 0 to 1"):
        server(fake_metrics={"kv-cache-usage": 75})
