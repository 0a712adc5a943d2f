"""What compresses a bundle: the smallest of several, read within limits."""

from __future__ import annotations

import brotli
import pytest

from replayproxy.cassette.budget import Budget
from replayproxy.cassette.coding import bundled, codec
from replayproxy.cassette.coding.codec import Codec
from replayproxy.errors import Damaged

PROSE = b"The quick brown fox jumps over the lazy dog, and then it rests beneath the old tree. " * 3
NUMBERS = bytes(range(256))


@pytest.mark.parametrize("thorough", [True, False])
@pytest.mark.parametrize("plain", [b"", b"x", PROSE, NUMBERS, PROSE * 500], ids=["none", "one", "prose", "any", "long"])
def test_it_comes_back(plain: bytes, thorough: bool) -> None:
    """Whatever it is, by whichever it is compressed."""
    coder, stored = bundled.squeezed(plain, thorough=thorough)
    assert bundled.expanded(Codec(), coder, stored, len(plain)) == plain
    assert thorough or coder == bundled.ZSTD


def test_the_smaller_one_is_taken() -> None:
    """English prose is smaller by brotli, and what is smaller by zstd stays there."""
    assert bundled.squeezed(PROSE, thorough=True)[0] == bundled.BROTLI
    coder, stored = bundled.squeezed(NUMBERS, thorough=True)
    assert len(stored) == min(len(codec.squeezed(NUMBERS)), len(brotli.compress(NUMBERS, quality=11)))
    assert coder in (bundled.ZSTD, bundled.BROTLI)


@pytest.mark.parametrize("coder", [bundled.ZSTD, bundled.BROTLI])
def test_more_than_the_limit_is_damage(coder: int) -> None:
    """Before more is unpacked than that."""
    stored = codec.squeezed(PROSE) if coder == bundled.ZSTD else brotli.compress(PROSE)
    with pytest.raises(Damaged):
        bundled.expanded(Codec(), coder, stored, len(PROSE) - 1)


@pytest.mark.parametrize(
    ("coder", "stored"),
    [
        (2, b""),
        (bundled.BROTLI, b"no brotli at all"),
        (bundled.BROTLI, brotli.compress(PROSE)[:-4]),
        (bundled.ZSTD, b"?"),
    ],
)
def test_what_is_none_is_damage(coder: int, stored: bytes) -> None:
    """An unknown compressor, other bytes, an end that is missing."""
    with pytest.raises(Damaged):
        bundled.expanded(Codec(), coder, stored, 1000)


def test_what_is_out_of_proportion_is_counted() -> None:
    """As of zstd: 100 MB of nothing in a few bytes belong to no recording."""
    bomb = brotli.compress(bytes(70 * 1024 * 1024))
    with pytest.raises(Damaged, match="which no recorder writes"):
        bundled.expanded(Codec(budget=Budget("it", len(bomb))), bundled.BROTLI, bomb, 80 * 1024 * 1024)
