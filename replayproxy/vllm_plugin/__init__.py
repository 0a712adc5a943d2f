"""The mock model inside vLLM: an executor that answers from recordings where the model's forward pass would be.

    vllm serve MODEL_DIR --distributed-executor-backend replayproxy.vllm_plugin.CassetteExecutor

vLLM's own front end, tokenizer, scheduler, prefix cache, structured output, detokenizer and metrics run; no weights are
loaded. Settings come from the environment (`variables`).

    cassette ──▶ token_recordings ──▶ recording_index ─┐
    SchedulerOutput ──▶ engine_requests ───────────────┴──▶ token ids, logprobs, misses ──▶ step_timing ──▶ executor

Only `executor`, `capture_executor`, `request_failures` and `kv_cache` import vLLM, and nothing else of this package
imports them: replayproxy works without vLLM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from replayproxy.vllm_plugin.executor import CassetteExecutor

__all__ = ["CassetteExecutor"]


def __getattr__(name: str) -> Any:
    """Load the executor on its first use (PEP 562): it needs vLLM, and the tests of the other files do not."""
    if name != "CassetteExecutor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from replayproxy.vllm_plugin.executor import CassetteExecutor

    return CassetteExecutor
