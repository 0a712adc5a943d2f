"""What a request looks like, in a dozen bytes: two requests that resemble one another share some of them.

    model · settings · first text · last text · 4 of the last text's words · 4 of all words

For finding the nearest recording of a miss among very many without reading their bodies; what they find is then
compared in earnest (`core/diff`). The words are sampled by one-permutation hashing (Li, Owen, Zhang: One Permutation
Hashing, NIPS 2012): of each bucket of hashed word pairs the smallest stays, so that near texts keep most of theirs. One
byte each: of 100 000 strangers one in three has as many as three bytes in common by chance.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from itertools import chain, pairwise
from typing import Any
from zlib import crc32

from replayproxy.core.identity import canonical
from replayproxy.core.identity.rules import Compared

SIZE = 12
"""Bytes."""

Sketch = bytes

WEIGHTS = (2, 1, 2, 3, 1, 1, 1, 1, 1, 1, 1, 1)
"""What each byte in common is worth."""

_BUCKETS = 4
_SAMPLED = 4096
"""Characters at either end of a text: the rest of a long prompt would cost milliseconds and change little."""

_WORD = re.compile(r"\w+")
CONVERSATION = ("messages", "input", "prompt", "system", "instructions", "text", "query", "documents")
"""The fields of vLLM's endpoints that hold the conversation; all others say how to answer."""


_CONVERSATION = frozenset((*CONVERSATION, "model"))


def sketch(compared: Compared) -> Sketch:
    """The sketch of what counts of a request."""
    body = compared.body
    if compared.kind == "json" and isinstance(body, dict):
        conversation = list(chain.from_iterable(texts(body[name]) for name in CONVERSATION if name in body))
        settings: Any = {name: value for name, value in body.items() if name not in _CONVERSATION}
        model = body.get("model")
    else:
        conversation = [body.decode("latin-1")] if isinstance(body, bytes) else list(texts(body))
        settings, model = compared.kind, None
    first, last = (conversation[0], conversation[-1]) if conversation else ("", "")
    return bytes(
        (
            _byte(canonical.dumps(model)),
            _byte(canonical.dumps([settings, compared.query])),
            _byte(first.encode("utf-8", "surrogatepass")),
            _byte(last.encode("utf-8", "surrogatepass")),
            *_minima([last]),
            *_minima(conversation),
        )
    )


def alike(sketches: bytes, target: Sketch, limit: int) -> list[int]:
    """The positions of those `limit` sketches, of many in one piece, that have most in common with the wanted one.

    Best first, the later one first among equals; none that has nothing in common. 2 ms for 100 000: each column becomes
    a string of its weight or 0, and the strings are added up as numbers; no sum reaches 256.
    """
    count = len(sketches) // SIZE
    total = 0
    for column, (byte, weight) in enumerate(zip(target, WEIGHTS, strict=True)):
        table = bytes(weight if value == byte else 0 for value in range(256))
        total += int.from_bytes(sketches[column::SIZE].translate(table))
    scores = total.to_bytes(count)
    found: list[int] = []
    for score in range(sum(WEIGHTS), 0, -1):
        position = scores.rfind(score)
        while position >= 0 and len(found) < limit:
            found.append(position)
            position = scores.rfind(score, 0, position)
        if len(found) == limit:
            break
    return found


def texts(value: Any) -> Iterator[str]:
    """Every text in a value, in its order."""
    match value:
        case str():
            yield value
        case dict():
            for name, inner in value.items():
                if name not in ("role", "type"):
                    yield from texts(inner)
        case list() | tuple():
            if value and all(isinstance(item, int) for item in value):  # a prompt of token ids
                yield " ".join(map(str, value))
                return
            for inner in value:
                yield from texts(inner)


def _byte(content: bytes) -> int:
    return hashlib.blake2b(content, digest_size=1).digest()[0]


def _minima(texts: Iterable[str]) -> list[int]:
    """One byte of the smallest hash of each bucket."""
    text = " ".join(texts)
    if len(text) > 2 * _SAMPLED:
        text = text[:_SAMPLED] + " " + text[-_SAMPLED:]
    smallest = [0xFFFFFFFF] * _BUCKETS
    words = ["", *_WORD.findall(text), ""]
    try:
        encoded = " ".join(words).encode().split(b" ")
    except UnicodeEncodeError:  # lone surrogates; to name the error handler every time would cost three times more
        encoded = " ".join(words).encode("utf-8", "surrogatepass").split(b" ")
    for one, other in pairwise(encoded):
        hashed = crc32(b"%b %b" % (one, other))
        # CRC-32 is linear, its bits are not independent: spread by a multiplication (Knuth, TAOCP 3, §6.4).
        hashed = hashed * 2654435761 & 0xFFFFFFFF
        bucket = hashed & (_BUCKETS - 1)
        if hashed < smallest[bucket]:  # noqa: PLR1730  # min() costs a fifth of a sketch
            smallest[bucket] = hashed
    return [hashed >> 8 & 0xFF for hashed in smallest]
