"""Fail one request of the engine, with a sentence for its client, and leave the others and the engine alone.

    executor: StepOutput.failed ──▶ FailingScheduler ends the request ──▶ front end: HTTP 404 with the sentence

vLLM has no way for an executor to fail a request: what it raises ends the engine. So the scheduler that the engine was
configured to use gets a subclass that reads `failed` from the step's output, by vLLM's own option for that. vLLM's
front end makes "Internal server error" of a failed request, whatever the reason: `explain_failures` gives it the
sentence. Imports vLLM.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

MARK = "replayproxy: "
"""What a stop reason of ours begins with, on its way from the engine to the front end."""

log = logging.getLogger("vllm.replayproxy")
"""Below vLLM's own logger, whose handlers print it."""


def failing_scheduler(base: Any, arrived: Callable[[str, float], None]) -> Any:
    """Return a subclass of a scheduler of vLLM that ends the requests that a step's output names in `failed`.

    It calls `arrived` with the id of each request and when the front end got it, in seconds since the Unix epoch: the
    executor sees a request only when its first step begins.
    """
    from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs, FinishReason
    from vllm.v1.request import RequestStatus

    class FailingScheduler(base):  # type: ignore[misc]  # vLLM is not there when types are checked
        """Ends requests as vLLM does those whose grammar cannot be compiled."""

        def add_request(self, request: Any) -> None:
            arrived(request.request_id, request.arrival_time)
            super().add_request(request)

        def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> Any:
            outputs = super().update_from_output(scheduler_output, model_runner_output)
            failed = getattr(model_runner_output, "failed", None)
            if not failed:
                return outputs
            for request in self.finish_requests(set(failed), RequestStatus.FINISHED_ERROR):
                of_client = outputs.setdefault(request.client_index, EngineCoreOutputs(outputs=[]))
                of_client.outputs.append(
                    EngineCoreOutput(
                        request_id=request.request_id,
                        new_token_ids=[],
                        finish_reason=FinishReason.ERROR,
                        stop_reason=MARK + failed[request.request_id],
                        events=request.take_events(),
                        trace_headers=request.trace_headers,
                    )
                )
            return outputs

    return FailingScheduler


def explain_failures() -> None:
    """Let vLLM's front end in this process answer a failed request of ours with 404 and its sentence.

    Where vLLM has become another, it keeps answering 500, and the engine's log has the sentence.
    """
    from vllm.exceptions import GracefulHTTPError
    from vllm.v1.engine.output_processor import RequestState

    make_output = getattr(RequestState, "make_request_output", None)
    if make_output is None:
        log.warning(
            "this vLLM has no RequestState.make_request_output: a miss is answered with 500, its reason is logged"
        )
        return
    if hasattr(make_output, "explains_failures"):
        return

    def make_request_output(
        state: Any, tokens: Any, pooled: Any, finish: Any, stop: Any, *rest: Any, **more: Any
    ) -> Any:
        if isinstance(stop, str) and stop.startswith(MARK) and state.queue is not None:
            # The queue raises an exception to whoever waits for the answer (vLLM passes its own errors on so).
            state.queue.put(GracefulHTTPError(stop, HTTPStatus.NOT_FOUND))
            return None
        return make_output(state, tokens, pooled, finish, stop, *rest, **more)

    make_request_output.explains_failures = True  # type: ignore[attr-defined]  # once per process, however often loaded
    RequestState.make_request_output = make_request_output
