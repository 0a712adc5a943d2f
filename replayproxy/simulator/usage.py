"""The token counts of an answer, in the words of each dialect, from the sequences that were generated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from replayproxy.simulator.sequence import EngineSequence


class TokenCounts(NamedTuple):
    """Tokens of a whole request. Choices of one prompt share it; a cached token is one of its prompt."""

    prompt: int
    completion: int
    cached: int
    reasoning: int = 0

    @classmethod
    def of(cls, sequences: Sequence[EngineSequence], choices: int, reasoning: int = 0) -> TokenCounts:
        """Those of all sequences, of which each `choices` have the same prompt."""
        prompts = sequences[::choices]
        return cls(
            sum(sequence.prompt_tokens for sequence in prompts),
            sum(sequence.generated for sequence in sequences),
            sum(sequence.cached_tokens for sequence in prompts),
            reasoning,
        )

    def document(self) -> dict[str, Any]:
        """The three counts, in vLLM's order."""
        return {
            "prompt_tokens": self.prompt,
            "total_tokens": self.prompt + self.completion,
            "completion_tokens": self.completion,
        }

    def with_details(self, *, has_cache: bool, has_reasoning: bool, created: int | None = 0) -> dict[str, Any]:
        """The counts and their details, null where the server does not count them.

        `created` is `created_cache_tokens`, which completions do not count.
        """
        cache = {"cached_tokens": self.cached, "created_cache_tokens": created, "multimodal_tokens": None}
        return {
            **self.document(),
            "prompt_tokens_details": cache if has_cache else None,
            "completion_tokens_details": {"reasoning_tokens": self.reasoning} if has_reasoning else None,
        }


def without_nulls(document: dict[str, Any]) -> dict[str, Any]:
    """The same without the keys that are null, at any depth: so is the usage at the end of a stream."""
    return {
        key: without_nulls(value) if isinstance(value, dict) else value
        for key, value in document.items()
        if value is not None
    }
