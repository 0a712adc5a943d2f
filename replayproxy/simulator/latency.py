"""How long a prefill and a token take. Pure: numbers in, nanoseconds out.

The formulas are those of llm-d-inference-sim, without its rounding to milliseconds:

    load          = 1 + (time_factor - 1) (running - 1) / (max_num_seqs - 1)
    first token   = load ttft, or load (overhead + (prompt - cached) per_token); with a remote prefill the KV transfer
    later token   = load itl
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from replayproxy.errors import SettingsError, setting
from replayproxy.simulator.recorded_times import RecordedTimes

LEAST, MOST = 0.3, 1.7
"""A sample is cut at these shares of its mean, as in llm-d-inference-sim."""

LARGEST_SHARE = 0.3
"""A standard deviation is at most this share of its mean; so it is in llm-d-inference-sim, which refuses more."""

_DEVIATIONS = (
    ("ttft", "ttft_std_dev", "time_to_first_token"),
    ("itl", "itl_std_dev", "inter_token_latency"),
    ("kv_transfer", "kv_transfer_std_dev", "kv_cache_transfer_latency"),
)


@dataclass(frozen=True, slots=True)
class Latency:
    """Means and standard deviations in ns; `jitter` is a standard deviation as a share of each mean.

    A first token takes `ttft`, or without that what `prefill_overhead` and `prefill_per_token` say; so with
    `kv_transfer` and `kv_transfer_per_token`. `forward_time` is one step of the model: each token takes it where no
    other latency is given. `time_factor` is how many times longer a full engine takes than one with one sequence.
    """

    ttft: int = 0
    itl: int = 0
    jitter: float = 0.0
    ttft_std_dev: int = 0
    itl_std_dev: int = 0
    kv_transfer: int = 0
    kv_transfer_std_dev: int = 0
    prefill_overhead: int = 0
    prefill_per_token: int = 0
    prefill_std_dev: int = 0
    kv_transfer_per_token: int = 0
    kv_transfer_time_std_dev: int = 0
    forward_time: int = 0
    time_factor: float = 1.0
    recorded: RecordedTimes | None = field(default=None, repr=False)
    """Times of recorded traffic, for what is not given."""

    def __post_init__(self) -> None:
        for mean, deviation, name in _DEVIATIONS:
            if getattr(self, deviation) > LARGEST_SHARE * getattr(self, mean):
                raise SettingsError(
                    f"{setting(f'{name}_std_dev')} is more than 30 % of {setting(name)}: a latency that varies so much"
                    " would be cut off on one side; give a smaller one"
                )
        if self.time_factor < 1:
            raise SettingsError(
                f"{setting('time_factor_under_load', f'{self.time_factor:g}')} is less than 1: a busy server is not"
                " faster than an idle one"
            )

    def load(self, running: int, max_num_seqs: int) -> float:
        """The factor of all times while so many sequences run, this one included."""
        if max_num_seqs <= 1:
            return 1.0
        return 1.0 + (self.time_factor - 1.0) * max(0, running - 1) / (max_num_seqs - 1)

    def first_token(
        self,
        draw: random.Random,
        *,
        prompt: int,
        cached: int = 0,
        is_remote: bool = False,
        load: float = 1.0,
        running: int = 1,
    ) -> int:
        """From the start of a sequence to its first token. A KV transfer takes no longer on a busy engine.

        `running` is how many sequences run, for recorded times, which have the load in them.
        """
        if is_remote:
            if self.kv_transfer or self.kv_transfer_std_dev:
                return self._sample(draw, self.kv_transfer, self.kv_transfer_std_dev)
            return self._sample(draw, prompt * self.kv_transfer_per_token, self.kv_transfer_time_std_dev)
        if self.ttft or self.ttft_std_dev:
            return self._sample(draw, load * self.ttft, self.ttft_std_dev)
        mean = self.prefill_overhead + max(0, prompt - cached) * self.prefill_per_token
        if not mean and not self.forward_time and self.recorded is not None:
            return self.recorded.first_token(draw, prompt=max(0, prompt - cached), running=running)
        if not mean:
            return self._sample(draw, load * self.forward_time, 0)
        return self._sample(draw, load * mean, self.prefill_std_dev)

    def next_token(self, draw: random.Random, *, load: float = 1.0, running: int = 1) -> int:
        """From one token to the next."""
        if not self.itl and not self.forward_time and self.recorded is not None:
            return self.recorded.next_token(draw, running=running)
        return self._sample(draw, load * (self.itl or self.forward_time), self.itl_std_dev)

    def _sample(self, draw: random.Random, mean: float, deviation: int) -> int:
        if not deviation and not self.jitter:
            return round(mean)
        value = draw.gauss(mean, deviation or mean * self.jitter)
        return round(min(MOST * mean, max(LEAST * mean, value)))
