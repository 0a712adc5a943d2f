"""A text is read behind its escapes, and each byte leads back to where it is written."""

from __future__ import annotations

import json
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.core.redaction import escapes


@given(st.text(max_size=60), st.booleans())
def test_json_is_read_as_json_reads_it(text: str, ascii_only: bool) -> None:
    """Whatever was escaped (but half a pair of surrogates, which stays half a pair)."""
    written = json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode("utf-8", "surrogatepass")
    read = escapes.unescape_json(written).text.decode("utf-8", "surrogatepass")
    assert read.encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")


@given(st.binary(max_size=60))
def test_percent_codes_are_undone(data: bytes) -> None:
    """RFC 3986."""
    written = quote(data).encode()
    assert escapes.unescape_percent(written).text == data == unquote_to_bytes(written)


@given(st.lists(st.sampled_from(["a", "bc", "\\n", "\\u0041", "\\u00e9", '\\"', "\\\\", "é"]), max_size=20), st.data())
def test_every_part_leads_back_to_its_spelling(parts: list[str], data: st.DataObject) -> None:
    """What is written there reads the same; an escape is there as a whole."""
    written = "".join(parts).encode()
    read = escapes.unescape_json(written)
    if not read.text:
        return
    start = data.draw(st.integers(0, len(read.text) - 1))
    stop = data.draw(st.integers(start + 1, len(read.text)))
    first, last = read.source_span(start, stop)
    assert read.text[start:stop] in escapes.unescape_json(written[first:last]).text
    assert escapes.unescape_json(written[:first]).text + escapes.unescape_json(written[first:last]).text == (
        escapes.unescape_json(written[:last]).text
    )


@given(st.binary(max_size=80))
def test_any_bytes_are_read(data: bytes) -> None:
    """What is no escape stands for itself."""
    assert escapes.unescape_json(data.replace(b"\\", b"/")).text == data.replace(b"\\", b"/")
    escapes.unescape_json(data)
    escapes.unescape_percent(data)


@given(
    st.lists(st.sampled_from(["a", "\\n", "\\u0041", "\\", "\\\\", "\\\\\\", "u0041", "%41", "%", "4"]), max_size=30),
    st.integers(8, 12),
)
def test_blocks_end_where_no_escape_stands(parts: list[str], size: int) -> None:
    """A text is read in blocks: it reads the same, and leads back to the same places."""
    written = "".join(parts).encode()
    for read_by in (escapes.unescape_json, escapes.unescape_percent):
        whole = read_by(written)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(escapes, "BLOCK_BYTES", size)
            blocks = read_by(written)
        assert blocks.text == whole.text
        places = range(len(whole.text))
        assert [blocks.source_span(at, at + 1) for at in places] == [whole.source_span(at, at + 1) for at in places]
