"""As much of vLLM and numpy as the engine's executor touches: modules that can be imported where vLLM is not installed.

Values with the field names of vLLM 0.32, a scheduler that keeps requests, and arrays that are lists. What vLLM really
does with an executor is tested in tests/live.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class Executor:
    """vLLM's base class, as far as it stores the configuration."""

    def __init__(self, vllm_config: Any) -> None:
        self.vllm_config = vllm_config
        self.model_config = vllm_config.model_config
        self.lora_config = vllm_config.lora_config
        self._init_executor()

    def _init_executor(self) -> None:
        """For subclasses."""

    def execute_model(self, scheduler_output: Any, non_block: bool = False) -> Any:
        """What a real one would compute is prepared by a test."""
        return None

    def sample_tokens(self, grammar_output: Any, non_block: bool = False) -> Any:
        """The same."""
        return self.vllm_config.outputs.pop(0)

    def shutdown(self) -> None:
        """Tell the test."""
        self.vllm_config.has_ended = True


@dataclass
class ModelRunnerOutput:
    """What a step gives."""

    req_ids: list[str]
    req_id_to_index: dict[str, int]
    sampled_token_ids: list[list[int]] = field(default_factory=list)
    logprobs: Any = None
    kv_connector_output: Any = None


@dataclass
class KVConnectorOutput:
    """Which KV caches were sent, and which have arrived."""

    finished_sending: set[str] | None = None
    finished_recving: set[str] | None = None


@dataclass
class LogprobsLists:
    """Logprobs of a step; `cu_num_generated_tokens` says where each request's begin."""

    logprob_token_ids: Any
    logprobs: Any
    sampled_token_ranks: Any
    cu_num_generated_tokens: list[int] | None = None

    def slice_request(self, number: int, count: int) -> LogprobsLists:
        """One request's."""
        start = number if self.cu_num_generated_tokens is None else self.cu_num_generated_tokens[number]
        end = start + count
        return LogprobsLists(
            self.logprob_token_ids[start:end], self.logprobs[start:end], self.sampled_token_ranks[start:end]
        )


@dataclass(frozen=True)
class CompilationTimes:
    """Of the language model and of the encoder."""

    language_model: float
    encoder: float


@dataclass(frozen=True)
class FullAttentionSpec:
    """The KV cache of one layer."""

    block_size: int
    num_kv_heads: int
    head_size: int
    dtype: str

    @property
    def page_size_bytes(self) -> int:
        """Keys and values, two bytes each."""
        return 2 * 2 * self.block_size * self.num_kv_heads * self.head_size


class Array(list[Any]):
    """numpy's, as far as it is used."""

    def reshape(self, rows: int, columns: int) -> Array:
        """It has that shape already."""
        assert len(self) == rows
        assert all(len(row) == columns for row in self)
        return self


class Scheduler:
    """Ends requests, and counts nothing."""

    def __init__(self, requests: dict[str, Any]) -> None:
        self.requests = requests

    def add_request(self, request: Any) -> None:
        """Keep it."""
        self.requests[request.request_id] = request

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> dict[int, Any]:
        """The tokens of the step, by client."""
        return {0: SimpleNamespace(outputs=["tokens"])}

    def finish_requests(self, ids: set[str], status: str) -> list[Any]:
        """The requests that were there."""
        return [self.requests.pop(id) for id in sorted(ids) if id in self.requests]


class RequestState:
    """The front end's side of a request."""

    def __init__(self, queue: list[Any] | None) -> None:
        self.queue = None if queue is None else SimpleNamespace(put=queue.append)

    def make_request_output(self, tokens: Any, pooled: Any, finish: Any, stop: Any, *rest: Any) -> Any:
        """What the client gets."""
        return ("output", tokens, stop)


class GracefulHTTPError(Exception):
    """An error with a status."""

    def __init__(self, message: str, http_status: int) -> None:
        super().__init__(message)
        self.http_status = http_status


class Letters:
    """A tokenizer: token 0 is `a`, and 25 ends."""

    all_special_ids = (25,)

    def __len__(self) -> int:
        return 26

    def decode(self, ids: list[int]) -> str:
        """A letter each."""
        return "".join(chr(97 + id) for id in ids)


def configuration(**more: Any) -> Any:
    """A `VllmConfig` of a small model."""
    model = SimpleNamespace(
        served_model_name="tiny",
        skip_tokenizer_init=False,
        dtype="bfloat16",
        get_vocab_size=lambda: 26,
        get_num_kv_heads=lambda parallel: 2,
        get_head_size=lambda: 64,
        get_num_layers=lambda parallel: 4,
    )
    fields: dict[str, Any] = {
        "model_config": model,
        "parallel_config": SimpleNamespace(world_size=1, distributed_executor_backend="ours"),
        "cache_config": SimpleNamespace(block_size=16, kv_cache_memory_bytes=None),
        "scheduler_config": SimpleNamespace(scheduler_cls=None, get_scheduler_cls=lambda: Scheduler),
        "kv_transfer_config": None,
        "lora_config": None,
        "outputs": [],
        "has_ended": False,
    }
    return SimpleNamespace(**fields | more)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the modules be imported for one test. Those of ours that import them are imported anew."""
    contents: dict[str, dict[str, Any]] = {
        "numpy": {"array": lambda rows, dtype: Array(rows), "int32": "int32", "float32": "float32"},
        "vllm": {},
        "vllm.exceptions": {"GracefulHTTPError": GracefulHTTPError},
        "vllm.platforms": {"current_platform": SimpleNamespace(is_cpu=lambda: True)},
        "vllm.tokenizers": {"cached_tokenizer_from_config": lambda model: Letters()},
        "vllm.version": {"__version__": "0.32.0"},
        "vllm.v1": {},
        "vllm.v1.engine": {
            "EngineCoreOutput": SimpleNamespace,
            "EngineCoreOutputs": SimpleNamespace,
            "FinishReason": SimpleNamespace(ERROR="error"),
        },
        "vllm.v1.engine.output_processor": {"RequestState": type("RequestState", (RequestState,), {})},
        "vllm.v1.executor": {},
        "vllm.v1.executor.abstract": {"Executor": Executor},
        "vllm.v1.executor.multiproc_executor": {"MultiprocExecutor": type("MultiprocExecutor", (Executor,), {})},
        "vllm.v1.executor.uniproc_executor": {"UniProcExecutor": type("UniProcExecutor", (Executor,), {})},
        "vllm.v1.kv_cache_interface": {"FullAttentionSpec": FullAttentionSpec},
        "vllm.v1.kv_cache_layout": {"KVCacheLayout": [SimpleNamespace(name="LBHNC")]},
        "vllm.v1.outputs": {
            "KVConnectorOutput": KVConnectorOutput,
            "LogprobsLists": LogprobsLists,
            "ModelRunnerOutput": ModelRunnerOutput,
        },
        "vllm.v1.request": {"RequestStatus": SimpleNamespace(FINISHED_ERROR="error")},
        "vllm.v1.worker": {},
        "vllm.v1.worker.worker_base": {"CompilationTimes": CompilationTimes},
    }
    for name, values in contents.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("executor", "capture_executor"):
        monkeypatch.delitem(sys.modules, f"replayproxy.vllm_plugin.{name}", raising=False)


# What vLLM hands to an executor


def new_request(id: str, prompt: list[int], computed: int = 0, prefill: list[int] | None = None, **params: Any) -> Any:
    """A `NewRequestData`."""
    fields = {"max_tokens": 10, "stop": [], "all_stop_token_ids": set(), "num_logprobs": None, "eos_token_id": 25}
    return SimpleNamespace(
        req_id=id,
        prompt_token_ids=prompt,
        prefill_token_ids=prefill,
        num_computed_tokens=computed,
        lora_request=None,
        mm_features=[],
        sampling_params=SimpleNamespace(**fields | params),
    )


def step(
    scheduled: dict[str, int],
    new: tuple[Any, ...] = (),
    cached: dict[str, tuple[int, int]] | None = None,
    finished: tuple[str, ...] = (),
    transfers: Any = None,
) -> Any:
    """A `SchedulerOutput`. `cached`: tokens computed and produced, by request."""
    known = cached or {}
    return SimpleNamespace(
        scheduled_new_reqs=list(new),
        scheduled_cached_reqs=SimpleNamespace(
            req_ids=list(known),
            num_computed_tokens=[computed for computed, _ in known.values()],
            num_output_tokens=[produced for _, produced in known.values()],
        ),
        num_scheduled_tokens=scheduled,
        total_num_scheduled_tokens=sum(scheduled.values()),
        finished_req_ids=set(finished),
        kv_connector_metadata=transfers,
    )
