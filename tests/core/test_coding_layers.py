"""One coding of a body as its bytes arrive: members, what follows the last one, and where it stops."""

from __future__ import annotations

import gzip
import zlib

import brotli
import pytest
import zstandard

from replayproxy.core import coding, coding_layers
from replayproxy.core.coding_layers import CODINGS, LIMIT, CodingLayer, DecodedState
from replayproxy.model import Headers

TEXT = b"The sea is calm. " * 20

WHOLE = {
    "gzip": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:]),
    "deflate": zlib.compress(TEXT),
    "br": brotli.compress(TEXT),
    "zstd": zstandard.compress(TEXT[:7]) + zstandard.compress(TEXT[7:]),
}


def coded(name: str) -> Headers:
    """Fields of a body in this coding."""
    return (("Content-Encoding", name),)


def test_each_coding_is_tried() -> None:
    """A new one has a row here."""
    assert set(WHOLE) == set(CODINGS)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
def test_it_comes_out_at_any_cut(name: str, size: int) -> None:
    """One member or several."""
    layer = CodingLayer(name, LIMIT)
    data = WHOLE[name]
    read = b"".join(layer.feed(data[place : place + size]) for place in range(0, len(data), size))
    layer.finish()
    assert (read, layer.state, layer.rest) == (TEXT, DecodedState.WHOLE, [])


@pytest.mark.parametrize("name", sorted(WHOLE.keys() - {"br"}))
@pytest.mark.parametrize("size", [1, 10_000])
def test_what_follows_is_no_part_of_it(name: str, size: int) -> None:
    """It is kept as the rest. (With br anything begins a member, so that what follows is a broken one.)"""
    layer = CodingLayer(name, LIMIT)
    data = WHOLE[name] + b"and more"
    read = b"".join(layer.feed(data[place : place + size]) for place in range(0, len(data), size))
    layer.finish()
    assert read == TEXT
    assert (layer.state, b"".join(layer.rest)) == (DecodedState.REST, b"and more")


def test_the_number_of_members_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty members are nine bytes each; reading a million of them would take a minute."""
    monkeypatch.setattr(coding_layers, "MOST_MEMBERS", 10)
    assert coding.undone(coded("gzip"), gzip.compress(b"x") * 10) == (b"x" * 10, DecodedState.WHOLE)
    assert coding.undone(coded("gzip"), gzip.compress(b"x") * 11) == (b"x" * 10, DecodedState.TOO_LONG)
