"""Hash the blocks of a prompt, each together with all blocks before it, so that equal hashes mean equal prefixes.

    none hash ──▶ hash of block 0 ──▶ hash of block 1 ──▶ …          each = H([hash before it, token ids, extra keys])

Two ways of hashing: vLLM's `sha256_cbor` gives the hashes of a vLLM that runs with `--prefix-caching-hash-algo
sha256_cbor` and the same PYTHONHASHSEED; `fnv64a_cbor` gives those of llm-d-inference-sim, which begin with the name of
the model. Knows tokens as numbers and nothing of a cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

BlockHash = bytes
"""32 bytes of SHA-256, or 8 bytes of FNV-1a, most significant first."""

SHA256_CBOR = "sha256_cbor"
FNV64A_CBOR = "fnv64a_cbor"

DEFAULT_SEED = "vllm-none-hash"
"""The seed of vLLM 0.32 where PYTHONHASHSEED is not set."""

_FNV_OFFSET, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
"""The parameters of 64 bits (FNV, section 5 of draft-eastlake-fnv)."""


@dataclass(frozen=True, slots=True)
class BlockHashing:
    """How blocks are hashed. `seed` None: that of vLLM, or the empty one of llm-d-inference-sim."""

    algorithm: str = SHA256_CBOR
    seed: str | None = None

    def root(self, model: str) -> BlockHash:
        """The hash before the first block. Only `fnv64a_cbor` depends on the model."""
        if self.algorithm == SHA256_CBOR:
            return hashlib.sha256(cbor(DEFAULT_SEED if self.seed is None else self.seed)).digest()
        seed = fnv64a((self.seed or "").encode())
        return _fnv_bytes(cbor([seed, None, model]))

    def hashes(self, tokens: Sequence[int], block_size: int, before: BlockHash, adapter: str | None) -> list[BlockHash]:
        """One hash per full block of these tokens, of which the first one follows the block with the hash `before`."""
        found = []
        for start in range(0, len(tokens) - block_size + 1, block_size):
            before = self.hash(before, tokens[start : start + block_size], adapter)
            found.append(before)
        return found

    def hash(self, before: BlockHash, tokens: Sequence[int], adapter: str | None) -> BlockHash:
        """The hash of one block."""
        if self.algorithm == SHA256_CBOR:
            # vLLM tags a LoRA adapter among its extra keys, which are nothing for the base model.
            extra = [["lora", adapter]] if adapter is not None else None
            return hashlib.sha256(cbor([before, list(tokens), extra])).digest()
        # The adapter is in the root: it has the adapter's name for a model's.
        return _fnv_bytes(cbor([int.from_bytes(before, "big"), list(tokens), None]))


def as_number(digest: BlockHash) -> int:
    """The lower 64 bits, as events carry them."""
    return int.from_bytes(digest[-8:], "big")


def fnv64a(data: bytes) -> int:
    """FNV-1a of 64 bits."""
    value = _FNV_OFFSET
    for byte in data:
        value = (value ^ byte) * _FNV_PRIME & 0xFFFFFFFFFFFFFFFF
    return value


def _fnv_bytes(data: bytes) -> bytes:
    return fnv64a(data).to_bytes(8, "big")


# Canonical CBOR (RFC 8949, section 4.2.1) of the values that are hashed

_UNSIGNED, _BYTES, _TEXT, _ARRAY = 0x00, 0x40, 0x60, 0x80
_NULL = b"\xf6"


def cbor(value: object) -> bytes:
    """A number, text, bytes, None or a list of these. Raises `TypeError` for another value, or one below 0."""
    match value:
        case None:
            return _NULL
        case int() if value >= 0 and not isinstance(value, bool):
            return _head(_UNSIGNED, value)
        case bytes():
            return _head(_BYTES, len(value)) + value
        case str():
            encoded = value.encode()
            return _head(_TEXT, len(encoded)) + encoded
        case list():
            return _head(_ARRAY, len(value)) + b"".join(map(cbor, value))
        case _:
            raise TypeError(f"{value!r} is not part of a block's hash")


def _head(kind: int, number: int) -> bytes:
    if number < 24:
        return bytes((kind | number,))
    for code, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << (8 * size):
            return bytes((kind | code,)) + number.to_bytes(size, "big")
    raise TypeError(f"{number} has more than 64 bits")
