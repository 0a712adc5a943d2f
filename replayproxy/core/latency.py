"""Invent a Timeline: when the tokens of an answer would come."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Latency:
    """Time to first token and inter-token latency, in ns; `jitter` is the standard deviation as a share of each."""

    ttft: int = 0
    itl: int = 0
    jitter: float = 0.0

    def moments(self, tokens: int, seed: int) -> list[int]:
        """When each token comes, in ns since the request was complete. The same seed gives the same moments.

        A gap is drawn from a normal distribution and cut at 0.3 and 1.7 times its mean, as llm-d-inference-sim does.
        """
        draw = random.Random(seed)
        moments: list[int] = []
        now = 0
        for position in range(tokens):
            mean = self.itl if position else self.ttft
            factor = min(1.7, max(0.3, draw.gauss(1.0, self.jitter))) if self.jitter else 1.0
            now += round(mean * factor)
            moments.append(now)
        return moments
