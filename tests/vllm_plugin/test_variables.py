"""The settings of the engine: one row per variable, and what a wrong value is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from replayproxy.errors import SettingsError
from replayproxy.vllm_plugin.variables import EngineMode, EngineVariables, read_variables, unknown_variables

ON = {"REPLAYPROXY_CASSETTE": "a.cassette"}
REPLAY = EngineVariables(EngineMode.REPLAY, (Path("a.cassette"),))


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        (ON, EngineMode.REPLAY),
        (ON | {"REPLAY_MODE": "1"}, EngineMode.REPLAY),
        (ON | {"REPLAY_MODE": "yes", "CAPTURE_MODE": "0", "RANDOM_MODE": ""}, EngineMode.REPLAY),
        (ON | {"CAPTURE_MODE": "true"}, EngineMode.CAPTURE),
        (ON | {"REPLAYPROXY_ENGINE_MODE": "capture"}, EngineMode.CAPTURE),
        ({"RANDOM_MODE": "YES"}, EngineMode.RANDOM),
        ({"RANDOM_MODE": "1", "REPLAYPROXY_ENGINE_MODE": "random"}, EngineMode.RANDOM),
    ],
)
def test_the_mode_is_named_or_follows_from_a_cassette(environment: dict[str, str], mode: EngineMode) -> None:
    """The other mock model's variables choose it too; a false one chooses nothing."""
    assert read_variables(environment).mode is mode


@pytest.mark.parametrize(
    ("more", "changed"),
    [
        ({"FORWARD_TIME": "25"}, {"forward_time": 25_000_000}),
        ({"FORWARD_TIME": "2.5ms"}, {"forward_time": 2_500_000}),
        ({"FORWARD_TIME": "25", "REPLAYPROXY_FORWARD_TIME": "1s"}, {"forward_time": 1_000_000_000}),
        ({"SIMULATE_ELAPSED_TIME": "1"}, {"speed": 1.0}),
        ({"SIMULATE_ELAPSED_TIME": "0"}, {}),
        ({"REPLAYPROXY_SPEED": "2", "SIMULATE_ELAPSED_TIME": "1"}, {"speed": 2.0}),
        ({"REPLAYPROXY_SPEED": "max"}, {}),
        ({"REPLAYPROXY_AT_END": "refuse"}, {"at_end": "refuse"}),
        ({"REPLAYPROXY_SEED": "7"}, {"seed": 7}),
        ({"MOCK_COMPUTE_LOGITS": "1"}, {"synthetic_logprobs": True}),
        ({"REPLAYPROXY_SYNTHETIC_LOGPROBS": "yes"}, {"synthetic_logprobs": True}),
        ({"REPLAYPROXY_TRANSFER_TIME": "20ms"}, {"transfer_time": 20_000_000}),
        ({"REPLAYPROXY_TRANSFER_BANDWIDTH": "10GB"}, {"transfer_bandwidth": 10_000_000_000}),
        ({"KV_CACHE_MODE": "1", "PREFILL_PROCESS": "1"}, {"needs_kv_transfer": True, "is_prefill": True}),
        ({"PREFILL_PROCESS": "0"}, {"is_prefill": False}),
        ({"NO_NPU_MOCK": "1", "TORCH_COMPILE_MODE_MOCK": "1", "MOCK_CAPTURE_FILE_LOCK": ".lock"}, {}),
        ({"MOCK_CAPTURE_DIR": "/captures", "MOCK_CAPTURE_FILE": "y"}, {}),
    ],
)
def test_each_variable_sets_its_field(more: dict[str, str], changed: dict[str, object]) -> None:
    """And no other. Ours win over those of the other mock model."""
    read = read_variables(ON | more)
    assert {name: getattr(read, name) for name in EngineVariables.__slots__} == {
        name: changed.get(name, getattr(REPLAY, name)) for name in EngineVariables.__slots__
    }


def test_random_tokens_need_no_cassette_and_have_logprobs() -> None:
    """The other mock model computes logits by default in its random mode only."""
    read = read_variables({"RANDOM_MODE": "1", "MOCK_CAPTURE_FILE": "x"})
    assert (read.cassettes, read.synthetic_logprobs) == ((), True)


def test_a_folder_and_a_file_name_the_cassette() -> None:
    """As for the other mock model, whose file has a name by default; several of ours are one after the other."""
    folder = {"MOCK_CAPTURE_DIR": "/captures", "REPLAY_MODE": "1"}
    assert read_variables(folder).cassettes == (Path("/captures/.mock"),)
    assert read_variables(folder | {"MOCK_CAPTURE_FILE": "a"}).cassettes == (Path("/captures/a"),)
    several = {"REPLAYPROXY_CASSETTE": os.pathsep.join(["a", "b"])}
    assert read_variables(several).cassettes == (Path("a"), Path("b"))


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "set REPLAYPROXY_CASSETTE=FILE"),
        ({"REPLAY_MODE": "1"}, "there is no cassette to replay: set REPLAYPROXY_CASSETTE=FILE"),
        ({"CAPTURE_MODE": "1", "RANDOM_MODE": "1"}, "CAPTURE_MODE and RANDOM_MODE exclude each other"),
        (ON | {"CAPTURE_MODE": "1", "REPLAYPROXY_ENGINE_MODE": "replay"}, "exclude each other"),
        ({"RANDOM_MODE": "on"}, "RANDOM_MODE='on' is neither true nor false: write 1 or 0"),
        (ON | {"FORWARD_TIME": "soon"}, "FORWARD_TIME: 'soon' is not a duration"),
        (ON | {"REPLAYPROXY_AT_END": "stop"}, "REPLAYPROXY_AT_END: 'stop' is not one of its values"),
        (ON | {"REPLAYPROXY_SPEED": "-1"}, "REPLAYPROXY_SPEED: "),
        (
            {"REPLAYPROXY_CASSETTE": os.pathsep.join(["a", "b"]), "CAPTURE_MODE": "1"},
            "a capture is written to one cassette",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(environment: dict[str, str], said: str) -> None:
    """With the variable, the value and one that it may have."""
    with pytest.raises(SettingsError) as refused:
        read_variables(environment)
    assert said in str(refused.value)


def test_a_misspelt_variable_is_found() -> None:
    """What is named like one of ours and is not; what belongs to vLLM is not looked at."""
    environment = ON | {"REPLAYPROXY_CASETTE": "x", "MOCK_FILE": "y", "VLLM_PLUGINS": "", "NO_NPU_MOCK": "1"}
    assert unknown_variables(environment) == ["MOCK_FILE", "REPLAYPROXY_CASETTE"]
