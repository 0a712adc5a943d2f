"""What a format says of itself: what it keeps, what is lost, and how to install what it needs."""

from __future__ import annotations

from replayproxy.formats.format import Format, Kept, Notes, Part, missing_extra


def test_a_part_that_is_not_named_is_lost() -> None:
    """Parts that are kept in part are not."""
    format_ = Format("x", "an x", {Part.BYTES: Kept.YES, Part.TIMES: Kept.PARTLY}, "The rest.", ".x")
    assert format_.lost() == ("request", "header fields", "arrival", "session", "token ids")
    assert format_.kept(Part.TOKENS) is Kept.NO


def test_notes_know_whether_there_is_a_loss() -> None:
    """Something left out, or something estimated."""
    notes = Notes()
    assert not notes.has_losses
    notes.estimated["a length"] += 1
    assert notes.has_losses


def test_a_missing_library_is_a_sentence_with_the_command() -> None:
    """That installs it."""
    assert str(missing_extra("parquet", "pyarrow", "parquet")) == (
        "the format parquet needs pyarrow, which is not installed: pip install 'replayproxy[parquet]'"
    )
