"""A key loses its tag on disk, and has it again when it is read."""

from __future__ import annotations

import pytest

from replayproxy.cassette.stored_keys import key_bytes, key_text
from tests.recordings import MATCHER, samples


@pytest.mark.parametrize("number", range(3))
def test_a_key_comes_back(number: int) -> None:
    """Sixteen bytes of it are stored."""
    key = MATCHER.key(samples()[number].request)
    assert key_text(key_bytes(key)) == key
    assert len(key_bytes(key)) == 16


def test_what_is_stored_is_the_hash() -> None:
    """The tag says how it was derived, and stands once on the cassette, among the rules."""
    assert key_bytes("rp1:00ff") == b"\x00\xff"
    assert key_text(b"\x00\xff") == "rp1:00ff"
