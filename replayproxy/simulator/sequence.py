"""One sequence: what the engine generates for one choice of one request, and when it came how far.

The engine alone writes its state; listeners and admission rules read it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class EngineSequence:
    """A sequence of tokens in the engine. Times are ns of the clock; 0: not yet.

    `steps` is how many tokens it will generate. `parameters` is for listeners: what the request had set.
    """

    request_id: str
    index: int
    model: str
    """The name that the request used, as the answer has it."""
    prompt: Sequence[int]
    """Token ids."""
    steps: int
    draw: random.Random = field(repr=False)
    """For its latencies, and nothing else."""
    output: Sequence[int] = ()
    """The ids of the tokens that it will generate: its blocks in a KV cache."""
    adapter: str | None = None
    choices: int = 1
    max_tokens: int | None = None
    has_remote_prefill: bool = False
    """Its KV cache comes from a prefill server: the transfer takes the place of the prefill."""

    arrived_at: int = 0
    started_at: int = 0
    first_token_at: int = 0
    last_token_at: int = 0
    cached_tokens: int = 0
    """Prompt tokens that an admission rule has found in a cache; the prefill is shorter by them."""
    generated: int = 0
    finish_reason: str = ""
    """`stop`, `length`, `tool_calls`, …, known from the beginning; `abort` when its client has left."""

    @property
    def prompt_tokens(self) -> int:
        """How many tokens the prompt has."""
        return len(self.prompt)
