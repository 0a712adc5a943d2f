"""The executor that vLLM's engine calls instead of a model: every step is answered from recordings, or at random.

    EngineCore ── execute_model(SchedulerOutput) ──▶ requests are chosen an answer for
               ── sample_tokens(grammar) ──────────▶ EngineRequests.step, the step's duration, ModelRunnerOutput

Translates between vLLM's objects and the values of this package, and decides nothing by itself. Imports vLLM.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

import numpy
from vllm.v1.executor.abstract import Executor
from vllm.v1.outputs import KVConnectorOutput, LogprobsLists, ModelRunnerOutput
from vllm.v1.worker.worker_base import CompilationTimes

from replayproxy.errors import SettingsError
from replayproxy.net.clock import ThreadClock
from replayproxy.vllm_plugin import kv_cache
from replayproxy.vllm_plugin.engine_requests import EngineRequests, ScheduledRequest, StepAnswer
from replayproxy.vllm_plugin.engine_values import allowed_tokens, engine_request, scheduled_requests
from replayproxy.vllm_plugin.loading import check_recordings, load_recordings
from replayproxy.vllm_plugin.recording_index import EngineMiss, EngineRequest, RecordingIndex
from replayproxy.vllm_plugin.request_failures import explain_failures, failing_scheduler, log
from replayproxy.vllm_plugin.step_timing import StepTiming
from replayproxy.vllm_plugin.token_logprobs import LogprobRow, logprob_row
from replayproxy.vllm_plugin.token_sources import RandomTokens, RecordedTokens, TokenSource
from replayproxy.vllm_plugin.variables import EngineMode, EngineVariables, read_variables, unknown_variables
from replayproxy.vllm_plugin.versions import warning_for
from replayproxy.vllm_plugin.vocabulary import Vocabulary

LOOK_FOR_ARRIVALS = 1_000_000
"""Nanoseconds between two steps that compute nothing, while a KV cache is on its way."""


@dataclass
class StepOutput(ModelRunnerOutput):  # type: ignore[misc]  # vLLM is not there when types are checked
    """vLLM's output of a step, and why requests of it cannot be answered, by their ids."""

    failed: dict[str, str] = field(default_factory=dict)


class CassetteExecutor(Executor):  # type: ignore[misc]  # vLLM is not there when types are checked
    """Answers vLLM's engine from recordings. The class that `--distributed-executor-backend` names."""

    supports_pp = True  # a stage of a pipeline is arithmetic here

    def __new__(cls, vllm_config: Any) -> Any:
        """Return the executor of the mode: a capture runs the real model, by an executor of vLLM's own."""
        if read_variables(os.environ).mode is EngineMode.CAPTURE:
            from replayproxy.vllm_plugin.capture_executor import capturing_executor

            return capturing_executor(vllm_config)
        return super().__new__(cls)

    @classmethod
    def supports_async_scheduling(cls) -> bool:
        """Return False; vLLM's front end asks this before it starts the engine, the first moment to refuse settings."""
        explain_failures()
        variables = read_variables(os.environ)
        if variables.mode is EngineMode.REPLAY:
            check_recordings(variables.cassettes)
        return False

    # Start and stop

    def _init_executor(self) -> None:
        variables = read_variables(os.environ)
        config = self.vllm_config
        if (fault := kv_cache.fault_in_roles(config, variables)) is not None:
            raise SettingsError(fault)
        self._clock = ThreadClock()
        self._timing = StepTiming(variables.forward_time, variables.transfer_time, variables.transfer_bandwidth)
        self._tokenizer = self._read_tokenizer()
        self._vocabulary = Vocabulary(self._tokenizer, self.model_config.get_vocab_size())
        self._block_bytes = kv_cache.block_bytes(config)
        self._steps: deque[_Step] = deque()
        self._loras: set[int] = set()
        self._arrivals: dict[str, int] = {}
        """Of requests that have had no step yet."""
        self._requests = EngineRequests(self._sources(variables), speed=variables.speed)
        config.scheduler_config.scheduler_cls = failing_scheduler(
            config.scheduler_config.get_scheduler_cls(), self._note_arrival
        )
        self._report(variables)

    def _read_tokenizer(self) -> Any:
        from vllm.tokenizers import cached_tokenizer_from_config

        model = self.model_config
        return None if model.skip_tokenizer_init else cached_tokenizer_from_config(model)

    def _sources(self, variables: EngineVariables) -> Any:
        """Return the function that chooses what answers a request."""
        if variables.mode is EngineMode.RANDOM:
            vocabulary, occurrences = self._vocabulary.ordinary, _Occurrences()

            def random_source(request: EngineRequest) -> TokenSource | EngineMiss:
                return RandomTokens(request, variables.seed, occurrences.next(request), vocabulary)

            return random_source
        served = self.model_config.served_model_name
        names = frozenset([served] if isinstance(served, str) else served or ())
        index = RecordingIndex(
            # Without adapters every name is a name of the base model, whatever the recorded server called it.
            load_recordings(
                variables.cassettes, names if self.lora_config is not None else frozenset(), self._tokenizer
            ),
            at_end=variables.at_end,
            synthetic_logprobs=variables.synthetic_logprobs,
            decode=self._vocabulary.text,
        )
        log.info(
            "replayproxy: %d answers to %d prompts are loaded, %d of them by tokenizing their text again",
            *(len(index), index.prompts, index.approximate),
        )

        def recorded_source(request: EngineRequest) -> TokenSource | EngineMiss:
            recording = index.take(request)
            if isinstance(recording, EngineMiss):
                log.warning("replayproxy: a miss: %s", recording.message)
                return recording
            return RecordedTokens(recording, request.eos)

        return recorded_source

    def _report(self, variables: EngineVariables) -> None:
        from vllm.version import __version__

        if (warning := warning_for(__version__)) is not None:
            log.warning("replayproxy: %s", warning)
        for name in unknown_variables(os.environ):
            log.warning("replayproxy: %s is not a setting of the engine's mock model, and is ignored", name)
        log.info("replayproxy: the engine has no model; its mode is %s", variables.mode.value)

    def check_health(self) -> None:
        """Nothing can become unhealthy."""

    def shutdown(self) -> None:
        """Nothing is held."""

    # What the engine asks its workers

    def collective_rpc(
        self,
        method: Any,
        timeout: float | None = None,  # noqa: ARG002  vLLM's signature
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,  # noqa: ARG002  vLLM's signature
        non_block: bool = False,
    ) -> Any:
        """Answer as one worker would; what only concerns a device or weights is answered with None."""
        answers = [self._worker_answer(method if isinstance(method, str) else getattr(method, "__name__", ""), args)]
        return _done(answers) if non_block else answers

    def _worker_answer(self, method: str, args: tuple[Any, ...]) -> Any:
        match method:
            case "get_supported_tasks":
                return ("generate",)
            case "get_kv_cache_spec":
                return kv_cache.layer_specs(self.vllm_config)
            case "get_supported_kv_cache_layouts":
                return [self._layout()]
            case "determine_available_memory":
                return kv_cache.cache_bytes(self.vllm_config)
            case "compile_or_warm_up_model":
                return CompilationTimes(0.0, 0.0)
            case "add_lora":
                self._loras.add(args[0].lora_int_id)
                return True
            case "remove_lora":
                self._loras.discard(args[0])
                return True
            case "pin_lora":
                return args[0] in self._loras
            case "list_loras":
                return set(self._loras)
            case "supports_draft_weight_updates":
                return False
        return None

    def _layout(self) -> str:
        from vllm.v1.kv_cache_layout import KVCacheLayout

        return str(next(iter(KVCacheLayout)).name)

    # One step

    def execute_model(self, scheduler_output: Any, non_block: bool = False) -> Any:
        """Begin a step. Its tokens are given by `sample_tokens`; a step that computes nothing is over at once."""
        now = self._clock.now()
        self._requests.finish(scheduler_output.finished_req_ids)
        for id in scheduler_output.finished_req_ids:
            self._arrivals.pop(id, None)
        for new in scheduler_output.scheduled_new_reqs:
            self._requests.begin(new.req_id, engine_request(new), now, self._arrivals.pop(new.req_id, None))
        transfers = self._transfers(scheduler_output.kv_connector_metadata, now)
        if scheduler_output.total_num_scheduled_tokens:
            self._steps.append(_Step(scheduled_requests(scheduler_output), now, transfers))
            return _done(None) if non_block else None
        arrival = self._timing.next_arrival
        if arrival is not None:
            self._clock.wait_until(min(arrival, now + LOOK_FOR_ARRIVALS))
        output = ModelRunnerOutput(req_ids=[], req_id_to_index={}, kv_connector_output=transfers)
        return _done(output) if non_block else output

    def _note_arrival(self, id: str, seconds: float) -> None:
        """A request has arrived at the front end, on another clock than ours, perhaps during the last step."""
        age = max(0, self._clock.today() - round(seconds * 1e9))
        self._arrivals[id] = self._clock.now() - age

    def sample_tokens(self, grammar_output: Any, non_block: bool = False) -> Any:
        """End the step: its tokens, when the slowest of its requests has one."""
        step = self._steps.popleft()
        answer = self._requests.step(step.scheduled, allowed_tokens(grammar_output))
        self._clock.wait_until(self._timing.end_of_step(step.started_at, answer.ends_at, answer.lasts))
        ids = [row.id for row in answer.rows]
        output = StepOutput(
            req_ids=ids,
            req_id_to_index={id: number for number, id in enumerate(ids)},
            sampled_token_ids=[row.tokens for row in answer.rows],
            logprobs=self._logprobs(answer),
            kv_connector_output=step.transfers,
            failed=answer.failed,
        )
        return _done(output) if non_block else output

    def take_draft_token_ids(self) -> None:
        """Nothing is speculated."""

    def _logprobs(self, answer: StepAnswer) -> Any:
        """Return the logprobs of all tokens as arrays as wide as the widest request."""
        if all(row.logprobs is None for row in answer.rows):
            return None
        width = max(row.width for row in answer.rows)
        rows, starts = [], [0]
        for row in answer.rows:
            for token in row.tokens:
                vocabulary = self._vocabulary
                find = partial(vocabulary.find, before=row.before)
                # The row of a request that asks for none is never looked at.
                rows.append(
                    logprob_row(token, row.logprobs, width, find, vocabulary.size)
                    if row.logprobs is not None
                    else LogprobRow([token] * (width + 1), [0.0] * (width + 1), 1)
                )
            starts.append(len(rows))
        return LogprobsLists(
            numpy.array([row.ids for row in rows], dtype=numpy.int32).reshape(len(rows), width + 1),
            numpy.array([row.logprobs for row in rows], dtype=numpy.float32).reshape(len(rows), width + 1),
            numpy.array([row.rank for row in rows], dtype=numpy.int32),
            starts,
        )

    # Prefill and decode

    def _transfers(self, metadata: Any, now: int) -> Any:
        """Tell the scheduler which KV caches were sent and have arrived: nothing is moved, and time passes."""
        sent = set(getattr(metadata, "reqs_to_send", ()))
        for id, meta in getattr(metadata, "reqs_to_recv", {}).items():
            blocks = sum(map(len, meta.local_block_ids))
            self._timing.begin_transfer(id, blocks * self._block_bytes, now)
        arrived = self._timing.arrived(now)
        if not sent and not arrived:
            return None
        return KVConnectorOutput(finished_sending=sent or None, finished_recving=arrived or None)


@dataclass(frozen=True, slots=True)
class _Step:
    """What is known of a step when its tokens are asked for."""

    scheduled: list[ScheduledRequest]
    started_at: int
    transfers: Any


class _Occurrences:
    """How often each prompt was asked."""

    def __init__(self) -> None:
        self._counts: dict[Any, Any] = {}

    def next(self, request: EngineRequest) -> int:
        """Return how often it was asked before."""
        return int(next(self._counts.setdefault(request.key, count())))


def _done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future
