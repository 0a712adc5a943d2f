"""An executor of vLLM's own that runs the real model, with an ear on what goes in and out of it.

Which one it is depends on the machine: vLLM runs a model in the engine's process only where that can work. Imports
vLLM.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future
from typing import Any

from replayproxy.net.clock import ThreadClock
from replayproxy.vllm_plugin.capture import CapturedTokens, EngineCapture
from replayproxy.vllm_plugin.capture_thread import CaptureThread
from replayproxy.vllm_plugin.engine_values import engine_request, sampling_params
from replayproxy.vllm_plugin.variables import read_variables


def capturing_executor(vllm_config: Any) -> Any:
    """Return an executor that runs the model of this configuration and captures what it says."""
    from vllm.platforms import current_platform
    from vllm.v1.executor.multiproc_executor import MultiprocExecutor
    from vllm.v1.executor.uniproc_executor import UniProcExecutor

    parallel = vllm_config.parallel_config
    alone = parallel.world_size == 1 and not current_platform.is_cpu()
    # The workers read it too, and know vLLM's own names only.
    parallel.distributed_executor_backend = "uni" if alone else "mp"
    base: Any = UniProcExecutor if alone else MultiprocExecutor

    class CapturingExecutor(base):  # type: ignore[misc]  # vLLM is not there when types are checked
        """vLLM's executor; the methods that are not here are its own."""

        def _init_executor(self) -> None:
            super()._init_executor()
            served = self.model_config.served_model_name
            tokenizer = _tokenizer(self.model_config)
            self._clock = ThreadClock()
            self._capture = EngineCapture(
                str(served if isinstance(served, str) else served[0]),
                lambda tokens: "" if tokenizer is None else tokenizer.decode(list(tokens)),
            )
            self._thread: CaptureThread | None = CaptureThread(read_variables(os.environ).cassettes[0])
            self._steps: deque[tuple[int, int]] = deque()

        def execute_model(self, scheduler_output: Any, non_block: bool = False) -> Any:
            now = self._clock.now()
            for exchange in self._capture.finish(scheduler_output.finished_req_ids, now):
                if self._thread is not None:
                    self._thread.add(exchange)
            for new in scheduler_output.scheduled_new_reqs:
                params = sampling_params(new)
                self._capture.begin(new.req_id, engine_request(new), params, now, self._clock.today())
            if scheduler_output.total_num_scheduled_tokens:
                self._steps.append((now, len(scheduler_output.num_scheduled_tokens)))
            return self._noted(super().execute_model(scheduler_output, non_block=non_block))

        def sample_tokens(self, grammar_output: Any, non_block: bool = False) -> Any:
            return self._noted(super().sample_tokens(grammar_output, non_block=non_block))

        def _noted(self, output: Any) -> Any:
            """Note an output now, or when vLLM asks for it."""
            if isinstance(output, Future):
                return NotedFuture(output, self._note)
            self._note(output)
            return output

        def _note(self, output: Any) -> None:
            if output is None or not output.req_ids:
                return
            started_at, batch = self._steps.popleft()
            self._capture.step(captured_tokens(output), started_at, self._clock.now(), batch)

        def shutdown(self) -> None:
            super().shutdown()
            thread, self._thread = getattr(self, "_thread", None), None  # vLLM shuts down what never started, and twice
            if thread is not None:
                for exchange in self._capture.finish(self._capture.running, self._clock.now()):
                    thread.add(exchange)
                thread.close()

    return CapturingExecutor(vllm_config)


def _tokenizer(model_config: Any) -> Any:
    from vllm.tokenizers import cached_tokenizer_from_config

    return None if model_config.skip_tokenizer_init else cached_tokenizer_from_config(model_config)


class NotedFuture(Future[Any]):
    """A future of vLLM's that is shown to a function when its result is asked for."""

    def __init__(self, inner: Future[Any], note: Any) -> None:
        super().__init__()
        self._inner = inner
        self._note: Any = note

    def result(self, timeout: float | None = None) -> Any:
        """Return the result of the inner one; the first time, note it."""
        value = self._inner.result(timeout) if timeout is not None else self._inner.result()
        note, self._note = self._note, None
        if note is not None:
            note(value)
        return value

    def done(self) -> bool:
        """Return whether the inner one is done."""
        return self._inner.done()


def captured_tokens(output: Any) -> list[CapturedTokens]:
    """Return what a `ModelRunnerOutput` gave to each request."""
    rows = []
    for number, (id, tokens) in enumerate(zip(output.req_ids, output.sampled_token_ids, strict=False)):
        ids = [int(token) for token in tokens]
        logprobs: list[list[tuple[int, float]]] = []
        if output.logprobs is not None and ids:
            part = output.logprobs.slice_request(number, len(ids))
            logprobs = [
                list(zip(map(int, found), map(float, values), strict=True))
                for found, values in zip(part.logprob_token_ids, part.logprobs, strict=True)
            ]
        rows.append(CapturedTokens(id, ids, logprobs))
    return rows
