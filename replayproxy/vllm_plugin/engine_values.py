"""vLLM's objects as values of this package: what a request asks for, which requests a step has, what grammars admit.

Reads attributes by their names in vLLM 0.32 and imports nothing of it.
"""

from __future__ import annotations

from typing import Any

from replayproxy.vllm_plugin.allowed_tokens import AllowedTokens
from replayproxy.vllm_plugin.engine_requests import ScheduledRequest
from replayproxy.vllm_plugin.recording_index import EngineRequest
from replayproxy.vllm_plugin.token_recordings import SAMPLING


def engine_request(new: Any) -> EngineRequest:
    """Return what a `NewRequestData` asks for."""
    params, lora = new.sampling_params, new.lora_request
    return EngineRequest(
        tuple(new.prompt_token_ids or ()),
        params.max_tokens,
        frozenset([*params.stop, *params.all_stop_token_ids]),
        params.num_logprobs,
        params.eos_token_id,
        None if lora is None else lora.lora_name,
        tuple(str(feature.mm_hash or feature.identifier) for feature in new.mm_features),
        tuple((name, value) for name in SAMPLING if (value := getattr(params, name, None)) is not None),
        _unsupported(new),
    )


def _unsupported(new: Any) -> str | None:
    """Why a request cannot be answered; vLLM's front end would fail later, with words of its own."""
    if new.prompt_token_ids is None:
        return "its prompt is embeddings, and recordings are found by the token ids of a prompt: send text or ids"
    if getattr(new.sampling_params, "prompt_logprobs", None) is not None:
        return "it asks for the logprobs of its prompt (prompt_logprobs, or echo with logprobs), which are not replayed"
    return None


def scheduled_requests(scheduler_output: Any) -> list[ScheduledRequest]:
    """Return the requests of a step. One that was preempted comes back among the cached ones, or as a new one whose
    prefill includes what it had produced (vLLM's second model runner)."""
    scheduled, cached = scheduler_output.num_scheduled_tokens, scheduler_output.scheduled_cached_reqs
    found = [
        ScheduledRequest(
            new.req_id,
            new.num_computed_tokens,
            scheduled[new.req_id],
            max(0, len(new.prefill_token_ids or ()) - len(new.prompt_token_ids or ())),
        )
        for new in scheduler_output.scheduled_new_reqs
    ]
    for id, computed, produced in zip(
        cached.req_ids, cached.num_computed_tokens, cached.num_output_tokens, strict=True
    ):
        found.append(ScheduledRequest(id, computed, scheduled[id], produced))
    return found


def allowed_tokens(grammar_output: Any) -> dict[str, AllowedTokens]:
    """Return what grammars admit, by request."""
    if grammar_output is None:
        return {}
    ids = grammar_output.structured_output_request_ids
    return {id: AllowedTokens(row) for id, row in zip(ids, grammar_output.grammar_bitmask, strict=False)}


KEPT_PARAMS = (*SAMPLING, "stop", "stop_token_ids", "ignore_eos", "max_tokens", "min_tokens", "logprobs")
"""What a capture keeps of a request, by its names in vLLM."""


def sampling_params(new: Any) -> dict[str, Any]:
    """Return the parameters of a `NewRequestData` as its `/inference/v1/generate` takes them."""
    params = {name: getattr(new.sampling_params, name, None) for name in KEPT_PARAMS}
    return {name: value for name, value in params.items() if value is not None and value != []}
