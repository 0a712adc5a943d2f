"""Blocks have the hashes of vLLM or of llm-d-inference-sim, so that what keeps an index of them finds them equal."""

from __future__ import annotations

import hashlib

import pytest

from replayproxy.simulator.block_hashes import FNV64A_CBOR, BlockHashing, as_number, cbor, fnv64a


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        # RFC 8949, appendix A
        (0, "00"),
        (23, "17"),
        (24, "1818"),
        (100, "1864"),
        (1000, "1903e8"),
        (1_000_000, "1a000f4240"),
        (1_000_000_000_000, "1b000000e8d4a51000"),
        (18446744073709551615, "1bffffffffffffffff"),
        (b"\x01\x02\x03\x04", "4401020304"),
        ("IETF", "6449455446"),
        ("ü", "62c3bc"),
        ([], "80"),
        ([1, [2, 3], [4, 5]], "8301820203820405"),
        (None, "f6"),
    ],
)
def test_cbor_is_that_of_the_rfc(value: object, encoded: str) -> None:
    """Its examples, in the shortest form."""
    assert cbor(value).hex() == encoded


@pytest.mark.parametrize("value", [-1, True, 1.5, {"a": 1}, 2**64])
def test_nothing_else_is_hashed(value: object) -> None:
    """A value that two encoders could write differently is refused."""
    with pytest.raises(TypeError):
        cbor(value)


@pytest.mark.parametrize(
    ("text", "value"), [("", 0xCBF29CE484222325), ("a", 0xAF63DC4C8601EC8C), ("foobar", 0x85944171F73967E8)]
)
def test_fnv_is_that_of_the_draft(text: str, value: int) -> None:
    """Its test vectors."""
    assert fnv64a(text.encode()) == value


def test_hashes_of_llm_d_inference_sim() -> None:
    """With the seed "", the model "m" and blocks of 8: figures computed from its source."""
    hashing = BlockHashing(FNV64A_CBOR)
    root = hashing.root("m")
    blocks = hashing.hashes(range(1, 17), 8, root, None)
    assert [as_number(block) for block in (root, *blocks)] == [
        11374735546233341228,
        3556222695259344277,
        3413529535575050574,
    ]


def test_hashes_of_vllm() -> None:
    """`sha256_cbor` over (hash before it, token ids, extra keys); the first one follows the hash of the seed."""
    hashing = BlockHashing(seed="0")
    root = hashlib.sha256(b"\x610").digest()
    first, second = hashing.hashes([1, 2, 3, 4, 5], 2, hashing.root("any"), None)
    assert first == hashlib.sha256(b"\x83\x58\x20" + root + b"\x82\x01\x02\xf6").digest()
    assert second == hashlib.sha256(b"\x83\x58\x20" + first + b"\x82\x03\x04\xf6").digest()


@pytest.mark.parametrize("algorithm", ["sha256_cbor", FNV64A_CBOR])
def test_equal_hashes_mean_equal_prefixes(algorithm: str) -> None:
    """Another token, an earlier block, the seed and the adapter each change all that follow."""
    hashing = BlockHashing(algorithm)

    def hashes(tokens: list[int], adapter: str | None = None, one: BlockHashing = hashing) -> list[bytes]:
        return one.hashes(tokens, 2, one.root(adapter or "m"), adapter)

    plain = hashes([1, 2, 3, 4])
    assert hashes([1, 2, 3, 4, 9]) == plain
    assert hashes([1, 2, 3, 5])[0] == plain[0]
    different = [hashes([9, 2, 3, 4])[1], hashes([1, 2, 3, 4], "lora")[1], hashes([1, 2, 3, 5])[1]]
    different.append(hashes([1, 2, 3, 4], one=BlockHashing(algorithm, "seed"))[1])
    assert len({plain[1], *different}) == 5
