"""The executor as vLLM's engine calls it, with doubles in vLLM's place; the real vLLM is in tests/live."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from replayproxy.errors import NotACassette, SettingsError
from tests.doubles import vllm_double
from tests.doubles.vllm_double import configuration, new_request, step

LINES = [
    {"prompt_token_ids": [1, 2, 3], "token_ids": [5, 6, 25], "finish_reason": "stop", "exchange": "0a1b"},
    {"prompt_token_ids": [4], "token_ids": [7, 8], "finish_reason": "length", "exchange": "0c1d"},
]


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Two prompts."""
    path = tmp_path / "ids.jsonl"
    path.write_bytes(b"\n".join(map(orjson.dumps, LINES)))
    return path


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, recorded: Path) -> Any:
    """Makes executors: of some variables, and of a configuration."""
    vllm_double.install(monkeypatch)
    for name in ("REPLAY_MODE", "CAPTURE_MODE", "RANDOM_MODE", "FORWARD_TIME", "SIMULATE_ELAPSED_TIME"):
        monkeypatch.delenv(name, raising=False)

    def make(variables: dict[str, str] | None = None, config: Any = None) -> Any:
        chosen = {"REPLAYPROXY_CASSETTE": str(recorded)} if variables is None else variables
        for name, value in chosen.items():
            monkeypatch.setenv(name, value)
        from replayproxy.vllm_plugin import CassetteExecutor

        assert CassetteExecutor.supports_async_scheduling() is False
        return CassetteExecutor(config or configuration())

    return make


def run(executor: Any, output: Any, grammar: Any = None) -> Any:
    """One step, as `EngineCore.step` does it."""
    result = executor.execute_model(output, non_block=True).result()
    return result if result is not None else executor.sample_tokens(grammar)


def test_a_recording_comes_out_token_by_token(engine: Any) -> None:
    """Chunks of the prompt first, then a token per step, for each request its own."""
    executor = engine()
    first = run(executor, step({"a": 2}, (new_request("a", [1, 2, 3]),)))
    assert (first.req_ids, first.sampled_token_ids, first.logprobs) == (["a"], [[]], None)
    second = run(executor, step({"b": 1, "a": 1}, (new_request("b", [4], max_tokens=2),), {"a": (2, 0)}))
    assert dict(zip(second.req_ids, second.sampled_token_ids, strict=True)) == {"a": [5], "b": [7]}
    third = run(executor, step({"a": 1, "b": 1}, (), {"a": (3, 1), "b": (1, 1)}))
    assert (third.sampled_token_ids, third.req_id_to_index) == ([[6], [8]], {"a": 0, "b": 1})


def test_a_request_that_comes_back_as_new_goes_on(engine: Any) -> None:
    """vLLM's second model runner announces a preempted request again, with what it had produced."""
    executor = engine()
    run(executor, step({"a": 3}, (new_request("a", [1, 2, 3]),)))
    again = run(executor, step({"a": 4}, (new_request("a", [1, 2, 3], prefill=[1, 2, 3, 5]),)))
    assert again.sampled_token_ids == [[6]]


def test_arrivals_are_noted_by_the_scheduler_that_it_configures(engine: Any, recorded: Path) -> None:
    """Until the first step, or until vLLM says that the request is gone."""
    config = configuration()
    executor = engine({"REPLAYPROXY_CASSETTE": str(recorded), "SIMULATE_ELAPSED_TIME": "1"}, config)
    scheduler = config.scheduler_config.scheduler_cls({})
    for id in ("a", "b"):
        scheduler.add_request(SimpleNamespace(request_id=id, arrival_time=0.0))
    assert run(executor, step({"a": 3}, (new_request("a", [1, 2, 3]),))).sampled_token_ids == [[5]]
    assert run(executor, step({}, finished=("a", "b"))).req_ids == []


def test_a_step_without_tokens_is_over_at_once(engine: Any) -> None:
    """vLLM makes one to say who has finished."""
    executor = engine()
    run(executor, step({"a": 3}, (new_request("a", [1, 2, 3]),)))
    assert run(executor, step({}, finished=("a",))).req_ids == []


def test_a_miss_names_its_request_and_leaves_the_other(engine: Any) -> None:
    """What it says goes to the scheduler."""
    output = run(engine(), step({"a": 3, "b": 3}, (new_request("a", [1, 2, 3]), new_request("b", [1, 2, 9]))))
    assert output.sampled_token_ids == [[5], []]
    assert list(output.failed) == ["b"]
    assert (
        "the nearest one (exchange 0a1b) has 3 tokens and differs from token 3 on: 3 'd' there, 9 'j' here"
        in (output.failed["b"])
    )


def test_logprobs_are_as_wide_as_the_widest_request(engine: Any) -> None:
    """Made up here, as nothing was recorded; who has no token has no row."""
    executor = engine({"RANDOM_MODE": "1"})
    output = run(
        executor,
        step(
            {"a": 1, "b": 1, "c": 3},
            (new_request("a", [1]), new_request("b", [1, 2]), new_request("c", [3, 4, 5], num_logprobs=2)),
        ),
    )
    tokens = dict(zip(output.req_ids, output.sampled_token_ids, strict=True))
    assert (len(tokens["a"]), tokens["b"]) == (1, [])
    logprobs = output.logprobs
    assert logprobs.cu_num_generated_tokens == [0, 1, 1, 2]
    assert [len(row) for row in logprobs.logprob_token_ids] == [3, 3]
    assert logprobs.slice_request(2, 1).logprob_token_ids[0][0] == tokens["c"][0]


def test_random_tokens_obey_the_grammar_of_their_request(engine: Any) -> None:
    """Its row of the mask goes by its id; 25 is special, and only a grammar brings it."""
    executor = engine({"RANDOM_MODE": "1"})
    grammar = SimpleNamespace(structured_output_request_ids=["b"], grammar_bitmask=[[1 << 9]])
    new = (new_request("a", [1]), new_request("b", [1]))
    output = run(executor, step({"a": 1, "b": 1}, new), grammar)
    assert output.sampled_token_ids[1] == [9]
    assert all(token < 25 for (token,) in output.sampled_token_ids)


def test_equal_prompts_get_different_random_tokens(engine: Any) -> None:
    """Each occurrence its own, and the same in the next run."""
    steps = [step({"a": 1}, (new_request("a", [1]),)), step({"b": 1}, (new_request("b", [1]),))]
    rows = []
    for _ in range(2):
        executor = engine({"RANDOM_MODE": "1", "REPLAYPROXY_SEED": "3"})
        for _ in range(3):
            run(executor, steps[0])
        rows.append([run(executor, one).sampled_token_ids for one in steps])
    assert rows[0] == rows[1]


def test_the_engine_is_told_of_a_cache(engine: Any) -> None:
    """Layers, bytes, a layout, no time to compile; adapters are remembered, anything else is nothing."""
    executor = engine()
    (layers,) = executor.collective_rpc("get_kv_cache_spec")
    assert (len(layers), next(iter(layers.values())).block_size) == (4, 16)
    answers = {
        "determine_available_memory": [4 * 2**30],
        "get_supported_kv_cache_layouts": [["LBHNC"]],
        "get_supported_tasks": [("generate",)],
        "compile_or_warm_up_model": [vllm_double.CompilationTimes(0.0, 0.0)],
        "supports_draft_weight_updates": [False],
        "reset_mm_cache": [None],
        "sleep": [None],
    }
    assert {name: executor.collective_rpc(name) for name in answers} == answers
    assert executor.collective_rpc("wake_up", non_block=True).result() == [None]
    adapter = SimpleNamespace(lora_int_id=7)
    changes = [
        ("add_lora", (adapter,)),
        ("list_loras", ()),
        ("pin_lora", (7,)),
        ("remove_lora", (7,)),
        ("list_loras", ()),
    ]
    assert [executor.collective_rpc(name, args=arguments) for name, arguments in changes] == [
        [True],
        [{7}],
        [True],
        [True],
        [set()],
    ]
    executor.check_health()
    assert executor.take_draft_token_ids() is None
    executor.shutdown()


def test_a_hand_over_ends_when_its_time_has_passed(engine: Any, recorded: Path) -> None:
    """The decode server hears of it in a step without tokens; a prefill's is sent at once."""
    executor = engine({"REPLAYPROXY_CASSETTE": str(recorded), "REPLAYPROXY_TRANSFER_TIME": "5ms"})
    asked = SimpleNamespace(reqs_to_recv={"a": SimpleNamespace(local_block_ids=([1, 2],))}, reqs_to_send={})
    sent = run(executor, step({}, transfers=SimpleNamespace(reqs_to_recv={}, reqs_to_send={"b": 1.0})))
    assert (sent.kv_connector_output.finished_sending, sent.kv_connector_output.finished_recving) == ({"b"}, None)
    outputs = [run(executor, step({}, transfers=asked)).kv_connector_output]
    while outputs[-1] is None:
        outputs.append(run(executor, step({})).kv_connector_output)
    assert outputs[-1].finished_recving == {"a"}
    assert outputs[0] is None


def test_a_capture_is_another_executor(engine: Any, tmp_path: Path) -> None:
    """It runs the real model."""
    executor = engine({"REPLAYPROXY_CASSETTE": str(tmp_path / "new.cassette"), "CAPTURE_MODE": "1"})
    assert type(executor).__name__ == "CapturingExecutor"
    executor.shutdown()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"RANDOM_MODE": "1", "KV_CACHE_MODE": "1"}, "give it --kv-transfer-config"),
        ({"RANDOM_MODE": "maybe"}, "neither true nor false"),
    ],
)
def test_settings_that_make_no_sense_stop_the_start(engine: Any, variables: dict[str, str], said: str) -> None:
    """With a sentence, before the first request."""
    with pytest.raises(SettingsError) as refused:
        engine(variables)
    assert said in str(refused.value)


def test_a_cassette_that_is_not_there_stops_the_front_end(engine: Any) -> None:
    """Before the engine is started."""
    with pytest.raises(NotACassette, match="missing"):
        engine({"REPLAYPROXY_CASSETTE": "missing.cassette"})


def test_the_rest_of_the_package_needs_no_vllm() -> None:
    """A name that is not there is not looked for in vLLM."""
    import replayproxy.vllm_plugin as plugin

    with pytest.raises(AttributeError, match="CassetteExecuter"):
        plugin.CassetteExecuter  # noqa: B018  it raises
