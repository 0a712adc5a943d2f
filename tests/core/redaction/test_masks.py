"""A mask is as long as what it stands for, is known again, and says nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from replayproxy.core.redaction import masks


@given(st.binary(min_size=1, max_size=300), st.binary(min_size=1, max_size=16))
def test_a_mask_has_the_length_and_is_known(secret: bytes, salt: bytes) -> None:
    """Whatever it stands for."""
    for mask in (masks.constant(len(secret)), masks.hashed(len(secret), secret, salt)):
        assert len(mask) == len(secret)
        assert masks.is_mask(mask)


def test_different_secrets_stay_different_under_one_salt_only() -> None:
    """The hash is keyed: who has the cassette of another project cannot compare."""
    one, two = (masks.hashed(30, secret, b"salt") for secret in (b"one", b"two"))
    assert one != two
    assert one == masks.hashed(30, b"one", b"salt")
    assert one != masks.hashed(30, b"one", b"pepper")


def test_masks_compare_without_their_lengths() -> None:
    """Another key, of another length, finds the recording; another secret does not."""
    assert masks.without_lengths(b"a " + masks.constant(8) + b" b") == masks.without_lengths(
        b"a " + masks.constant(60) + b" b"
    )
    assert masks.without_lengths(masks.hashed(20, b"x", b"s")) == masks.without_lengths(masks.hashed(90, b"x", b"s"))
    assert masks.without_lengths(masks.hashed(20, b"x", b"s")) != masks.without_lengths(masks.hashed(20, b"y", b"s"))


def test_prose_is_no_mask() -> None:
    """Stars, and tildes, and both."""
    for text in (b"**bold** *it* ***", b"~~gone~~", b"a *~ b ~* c", b"*~hello~*"):
        assert masks.MASK.search(text) is None
        assert masks.without_lengths(text) == text
