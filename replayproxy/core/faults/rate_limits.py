"""Buckets of requests and tokens per minute, as an API gateway has them, with the fields that tell clients about them.

A bucket holds a minute's worth, and fills again at an even rate, so that a refused request knows when to come back. A
request costs one request and its estimated tokens: the larger of a quarter of the characters of its body and the most
tokens that it may generate, as OpenAI counts them. Names of fields, and the forms of their values, are OpenAI's
(platform.openai.com, "Rate limits in headers").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

from replayproxy.core.faults.failure_answers import error_answer, retry_after_fields
from replayproxy.model import Headers, Response

MINUTE = 60_000_000_000
CHARACTERS_PER_TOKEN = 4


@dataclass(slots=True)
class Bucket:
    """So many units per minute. Times in ns on one clock that never goes back."""

    limit: int
    _level: float = field(init=False)
    _at: int | None = None

    def __post_init__(self) -> None:
        self._level = float(self.limit)

    def level(self, now: int) -> float:
        """The units that are left."""
        if self._at is None:
            self._at = now
        passed = max(0, now - self._at)  # a request may have come before one that was seen earlier
        self._level = min(float(self.limit), self._level + passed * self.limit / MINUTE)
        self._at += passed
        return self._level

    def wait(self, now: int, amount: int) -> float:
        """Seconds until so many units are there; 0 if they are. More than a minute's worth waits for a full bucket."""
        missing = min(amount, self.limit) - self.level(now)
        return 0.0 if missing <= 1e-9 else missing * 60 / self.limit

    def take(self, now: int, amount: int) -> None:
        """Take units out; not below 0."""
        self._level = max(0.0, self.level(now) - amount)

    def until_full(self, now: int) -> float:
        """Seconds until it is full again."""
        return (self.limit - self.level(now)) * 60 / self.limit


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request over a limit: the answer, the limit as a person writes it, and the seconds to wait."""

    response: Response
    limit: str
    wait: float


class RateLimits:
    """One bucket of requests, one of tokens; 0 is no limit."""

    def __init__(self, rpm: int = 0, tpm: int = 0) -> None:
        self._requests = Bucket(rpm) if rpm else None
        self._tokens = Bucket(tpm) if tpm else None

    @property
    def is_on(self) -> bool:
        """Whether there is a limit."""
        return self._requests is not None or self._tokens is not None

    def admit(self, now: int, tokens: int, model: str) -> Refusal | None:
        """Take a request out of the buckets; or refuse it, and take nothing."""
        limits = (("requests", "RPM", "--rpm", self._requests, 1), ("tokens", "TPM", "--tpm", self._tokens, tokens))
        waits = [
            (bucket.wait(now, amount), unit, short, flag, bucket, amount)
            for unit, short, flag, bucket, amount in limits
            if bucket is not None
        ]
        wait, unit, short, flag, bucket, amount = max(waits, key=lambda one: one[0])
        if wait > 0:
            used = bucket.limit - int(bucket.level(now))
            message = (
                f"Rate limit reached for {model} on {unit} per min ({short}): Limit {bucket.limit}, Used {used},"
                f" Requested {amount}. Please try again in {_span(wait)}."
            )
            fields = (*retry_after_fields(ceil(wait * 1000) / 1000), *self.fields(now))
            answer = error_answer(429, message, fields, type=unit, code="rate_limit_exceeded")
            return Refusal(answer, f"{flag} {bucket.limit}", wait)
        for _, _, _, _, taken, amount in waits:
            taken.take(now, amount)
        return None

    def fields(self, now: int) -> Headers:
        """What an answer says of the limits: how much, what is left, and when all of it is there again."""
        found: list[tuple[str, str]] = []
        for unit, bucket in (("requests", self._requests), ("tokens", self._tokens)):
            if bucket is not None:
                found += [
                    (f"x-ratelimit-limit-{unit}", str(bucket.limit)),
                    (f"x-ratelimit-remaining-{unit}", str(int(bucket.level(now)))),
                    (f"x-ratelimit-reset-{unit}", _span(bucket.until_full(now))),
                ]
        return tuple(found)


def estimated_tokens(body: bytes, most_generated: object) -> int:
    """What a request costs a bucket of tokens; at least 1."""
    generated = most_generated if isinstance(most_generated, int) and most_generated > 0 else 0
    return max(1, len(body) // CHARACTERS_PER_TOKEN, generated)


def _span(seconds: float) -> str:
    """`120ms`, `6.5s`, `1m30s`, as OpenAI writes it."""
    if seconds < 1:
        return f"{ceil(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    written = f"{rest:.3f}".rstrip("0").rstrip(".")
    return f"{int(minutes)}m{written}s" if minutes else f"{written}s"
