"""The state of a whole simulated server: what its adapters, its cache and its queue do to answers and metrics."""

from __future__ import annotations

from itertools import pairwise

import pytest

from replayproxy.errors import SettingsError
from replayproxy.simulator.latency import Latency
from tests.doubles.simulated_state import completion, server, values
from tests.doubles.simulation import MS

PATH = "/v1/completions"
PROMPT = list(range(1, 41))
"""Forty tokens: two full blocks of sixteen, and eight more."""


# Metrics follow the load


def test_metrics_follow_the_load_up_and_down() -> None:
    """Running, waiting and the use of the cache are those of the moment, at each step of a load that comes and goes."""
    one = server(latency=Latency(ttft=100 * MS), max_num_seqs=2, kv_cache_size=30)
    # Four requests come 10 ms apart; each takes 100 ms, two at a time. A scrape between all that happens.
    loads = [(10.0 * number, PATH, completion([number] * 64, 1)) for number in range(4)]
    scrapes = [(at, "/metrics", None) for at in (-1.0, 5, 15, 25, 35, 105, 115, 205, 215)]
    answers = one.play(*((max(0.0, at), path, body) for at, path, body in scrapes[:1]), *loads, *scrapes[1:])
    pages = [values(answer) for answer in (answers[0], *answers[5:])]
    seen = [
        tuple(page[name] for name in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"))
        for page in pages
    ]
    busy, full = pytest.approx(4 / 30), pytest.approx(8 / 30)
    assert seen == [
        (0, 0, 0),
        (1, 0, busy),
        (2, 0, full),
        (2, 1, full),
        (2, 2, full),
        (2, 1, full),
        (2, 0, full),
        (1, 0, busy),
        (0, 0, 0),
    ]
    ended = [page["e2e_request_latency_seconds_count"] for page in pages]
    assert ended == [0, 0, 0, 0, 0, 1, 2, 3, 4], "histograms have each request as soon as it has ended"
    assert [page["time_to_first_token_seconds_sum"] for page in pages][-1] == pytest.approx(0.1 + 0.1 + 0.18 + 0.18)
    assert pages[-1]["request_queue_time_seconds_sum"] == pytest.approx(0.08 + 0.08)


def test_counters_never_go_down() -> None:
    """Whatever the load does."""
    one = server(max_num_seqs=2)
    asked = [(at, PATH, completion(PROMPT, 5)) for at in (0.0, 10.0, 20.0)]
    answers = one.play(*asked, *((at, "/metrics", None) for at in (1.0, 60.0, 120.0, 500.0)))
    pages = [values(page) for page in answers[3:]]
    names = [name for name in pages[-1] if name.partition("{")[0].endswith(("_total", "_count", "_sum", "_bucket"))]
    assert len(names) > 300
    for before, after in pairwise(pages):
        assert all(before[name] <= after[name] for name in names)
    assert pages[-1]["generation_tokens_total"] == 15
    assert pages[-1]["iteration_tokens_total_sum"] == 3 * len(PROMPT) + 15


def test_the_metrics_of_a_request_are_what_its_client_measured() -> None:
    """Measured, not configured."""
    one = server(latency=Latency(ttft=100 * MS, itl=10 * MS))
    (answer,) = one.play((0.0, PATH, completion(PROMPT, 4, stream=True, n=2)))
    page = one.metrics()
    assert answer.ended == 130
    assert page["time_to_first_token_seconds_sum"] == pytest.approx(0.2)
    assert page["inter_token_latency_seconds_sum"] == pytest.approx(0.06)
    assert page["inter_token_latency_seconds_count"] == 6
    assert page["request_time_per_output_token_seconds_sum"] == pytest.approx(0.02)
    assert page["e2e_request_latency_seconds_sum"] == pytest.approx(0.26)
    assert page["request_success_total{length}"] == 2
    assert (page["request_params_n_sum"], page["request_params_n_count"]) == (2, 1)
    assert page["request_max_num_generation_tokens_sum"] == 4
    assert page["request_params_max_tokens_sum"] == 8


def test_a_full_queue_is_a_rejection() -> None:
    """And no latency."""
    one = server(max_num_seqs=1)
    one.simulator.engine.max_waiting = 0
    answers = one.play(*[(0.0, PATH, completion(PROMPT))] * 2)
    assert [answer.status for answer in answers] == [200, 429]
    page = one.metrics()
    assert page["admission_rejections_total{max_num_queued_reqs}"] == 1
    assert page["e2e_request_latency_seconds_count"] == 1


# The cache


def test_a_cached_prefix_shortens_the_prefill_and_shows_in_usage() -> None:
    """The second of two equal prompts computes what is not in full blocks before its last token."""
    one = server(enable_kvcache=True)
    first, second = one.play((0.0, PATH, completion(PROMPT)), (1000.0, PATH, completion(PROMPT)))
    cached = [answer.json["usage"]["prompt_tokens_details"]["cached_tokens"] for answer in (first, second)]
    assert cached == [0, 32]
    assert [first.ended, second.ended] == [40 + 20, 8 + 20]
    page = one.metrics()
    assert (page["prefix_cache_queries_total"], page["prefix_cache_hits_total"]) == (80, 32)
    assert page["prompt_tokens_by_source_total{local_cache_hit}"] == 32
    assert page["prompt_tokens_by_source_total{local_compute}"] == 48
    assert page["kv_cache_usage_perc"] == 0


def test_without_a_cache_nothing_is_cached() -> None:
    """The use of the cache follows the load all the same."""
    one = server()
    first, second, scrape = one.play(
        (0.0, PATH, completion(PROMPT)), (1000.0, PATH, completion(PROMPT)), (1001.0, "/metrics", None)
    )
    assert first.ended == second.ended
    assert values(scrape)["kv_cache_usage_perc"] == pytest.approx(3 / 1024)
    assert values(scrape)["prefix_cache_queries_total"] == 0


def test_a_chat_hits_its_own_earlier_turns() -> None:
    """The blocks of an answer are cached for the request that brings it back."""
    one = server(enable_kvcache=True)
    one.play((0.0, PATH, completion(PROMPT, 30)))
    (said,) = one.play((5000.0, PATH, completion(PROMPT, 30, return_token_ids=True, seed=1)))
    answer = said.json["choices"][0]["token_ids"]
    (again,) = one.play((9000.0, PATH, completion([*PROMPT, *answer, 7], 1)))
    assert again.json["usage"]["prompt_tokens_details"]["cached_tokens"] == 64


def test_a_request_waits_until_the_cache_has_room() -> None:
    """Those behind it wait too, as in vLLM."""
    one = server(enable_kvcache=True, kv_cache_size=64, max_num_seqs=5)
    long = completion([5] * 600, 1)
    first, second, third, scrape = one.play(
        (0.0, PATH, long),
        (1.0, PATH, completion([6] * 600, 1)),
        (2.0, PATH, completion([7], 1)),
        (3.0, "/metrics", None),
    )
    assert [first.ended, second.ended, third.ended] == [600, 599 + 600, 598 + 1]
    page = values(scrape)
    assert (page["num_requests_running"], page["num_requests_waiting"]) == (1, 2)
    assert page["num_requests_waiting_by_reason{capacity}"] == 2


def test_a_cache_that_cannot_hold_one_request_is_refused() -> None:
    """At the start, as vLLM does."""
    with pytest.raises(SettingsError, match="cannot hold a request"):
        server(enable_kvcache=True, kv_cache_size=63)


@pytest.mark.parametrize("path", ["/sleep", "/reset_prefix_cache"])
def test_the_cache_is_emptied(path: str) -> None:
    """By sleep, and on demand."""
    one = server(enable_kvcache=True)
    one.play((0.0, PATH, completion(PROMPT)))
    one.post(path, {})
    (after,) = one.play((1000.0, PATH, completion(PROMPT)))
    assert after.json["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    state = one.metrics()
    assert state["engine_sleep_state{awake}"] == (0 if path == "/sleep" else 1)


# Adapters

SQL = {"lora_name": "sql", "lora_path": "/sql"}


def test_an_adapter_is_a_model_while_it_is_loaded() -> None:
    """In the list of models, and for requests."""
    one = server()
    ask = completion(PROMPT, model="sql")
    assert one.post(PATH, ask).status == 404
    loaded = one.post("/v1/load_lora_adapter", SQL)
    assert (loaded.status, loaded.body) == (200, b"Success: LoRA adapter 'sql' added successfully.")
    entry = one.get("/v1/models").json["data"][1]
    assert (entry["id"], entry["root"], entry["parent"]) == ("sql", "/sql", "tiny")
    (answer,) = one.play((0.0, PATH, ask))
    assert answer.json["model"] == "sql"
    assert one.post("/v1/unload_lora_adapter", {"lora_name": "sql"}).status == 200
    assert one.post(PATH, ask).status == 404


@pytest.mark.parametrize(
    ("path", "body", "status", "type", "words"),
    [
        ("/v1/load_lora_adapter", SQL, 400, "InvalidUserInput", "already been loaded"),
        ("/v1/load_lora_adapter", {}, 400, "InvalidUserInput", "must be provided"),
        ("/v1/load_lora_adapter", b"[", 400, "BadRequestError", "not a JSON object"),
        ("/v1/unload_lora_adapter", {"lora_name": "x"}, 404, "NotFoundError", "cannot be found"),
    ],
)
def test_calls_that_are_refused(path: str, body: object, status: int, type: str, words: str) -> None:
    """In vLLM's envelope."""
    one = server(lora_modules=({"name": "sql", "path": "/sql"},))
    answer = one.post(path, body)
    assert (answer.status, answer.json["error"]["type"], answer.json["error"]["code"]) == (status, type, status)
    assert words in answer.json["error"]["message"]


def test_adapters_take_turns_and_show_in_metrics() -> None:
    """With one slot the second adapter waits, and a request of the base model overtakes it."""
    modules = tuple({"name": name} for name in ("a", "b"))
    one = server(latency=Latency(ttft=100 * MS), lora_modules=modules)
    *answers, scrape, after = one.play(
        *((float(at), PATH, completion(PROMPT, 1, model=name)) for at, name in enumerate(("a", "b", "tiny", "a"))),
        (50.0, "/metrics", None),
        (500.0, "/metrics", None),
    )
    assert [answer.ended for answer in answers] == [100, 102 + 100, 100, 100]
    page = values(scrape)
    assert (page["num_requests_running"], page["num_requests_waiting_by_reason{deferred}"]) == (3, 1)
    sets = {name: value for name, value in page.items() if name.startswith("lora_requests_info")}
    assert max(sets, key=sets.__getitem__) == "lora_requests_info{1,a,b}"
    sets = {name: value for name, value in values(after).items() if name.startswith("lora_requests_info")}
    assert max(sets, key=sets.__getitem__) == "lora_requests_info{1,,}"


def test_modules_that_cannot_be_loaded_are_refused() -> None:
    """With the name of their setting."""
    with pytest.raises(SettingsError, match=r"--lora-modules.*conflicts with a served base model"):
        server(lora_modules=({"name": "tiny"},))


# Events


def test_a_request_publishes_its_blocks() -> None:
    """Full batches at once, others after a second."""
    one = server(enable_kvcache=True, publishes=True, max_num_seqs=50)
    others = [(10.0, PATH, completion([token] * 16, 1)) for token in range(16)]
    one.play((0.0, PATH, completion(PROMPT)), *others, (3000.0, "/health", None))
    assert [(at, number) for at, number, _ in one.batches] == [(10, bytes(8)), (1010, bytes(7) + b"\1")]
    assert [payload.count(b"BlockStored") for _, _, payload in one.batches] == [16, 1]


def test_what_is_pending_at_the_end_is_published() -> None:
    """Nothing is lost."""
    one = server(enable_kvcache=True, publishes=True)
    one.play((0.0, PATH, completion(PROMPT)))
    one.state.close()
    assert len(one.batches) == 1
