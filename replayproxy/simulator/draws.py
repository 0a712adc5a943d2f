"""Randomness of an answer: from the seed, the request, and how often the same request came before. Never from time.

seed, method, path, body ──▶ key          key, occurrence ──▶ Draws ──▶ a generator for each purpose
"""

from __future__ import annotations

import random
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

REMEMBERED = 200_000
"""Requests whose occurrences are counted, the latest ones: about 30 MB at most."""


@dataclass(frozen=True, slots=True)
class Draws:
    """The generators of one request. `repeats`: equal requests get equal text (`temperature` 0, or a `seed`)."""

    key: bytes
    occurrence: int
    repeats: bool = False

    def generator(self, purpose: str, index: int = 0) -> random.Random:
        """A generator of its own for each purpose and each choice."""
        occurrence = 0 if self.repeats and purpose == "text" else self.occurrence
        return random.Random(self._digest(f"{purpose}/{index}/{occurrence}"))

    def id(self, purpose: str, index: int = 0) -> str:
        """Sixteen hexadecimal digits, as vLLM's ids have."""
        return self._digest(f"{purpose}/{index}/{self.occurrence}").hex()[:16]

    def _digest(self, name: str) -> bytes:
        return blake2b(name.encode(), key=self.key, digest_size=16).digest()


class RequestKeys:
    """Knows how often each request came."""

    def __init__(self, seed: int) -> None:
        self._seed = seed.to_bytes(16, "big", signed=True)
        self._counts: OrderedDict[bytes, int] = OrderedDict()

    def draws(self, method: str, path: str, body: Any) -> Draws:
        """The draws of the next request of this kind. The order of a body's keys does not matter."""
        try:
            document = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
        except TypeError:  # whole numbers above 64 bits
            document = repr(body).encode()
        key = blake2b(b"\0".join((method.encode(), path.encode(), document)), key=self._seed, digest_size=16).digest()
        occurrence = self._counts.pop(key, 0)
        self._counts[key] = occurrence + 1
        if len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)
        return Draws(key, occurrence, _repeats(body))


def _repeats(body: Any) -> bool:
    return isinstance(body, dict) and (body.get("temperature") == 0 or body.get("seed") is not None)
