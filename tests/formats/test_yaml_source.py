"""YAML of strangers: values only. What VCR.py's cassettes do with it is in test_vcr."""

from __future__ import annotations

from pathlib import Path

import pytest

from replayproxy.formats.source import SourceFile, UnreadableSource
from replayproxy.formats.yaml_source import load_yaml


def loaded(tmp_path: Path, text: str) -> object:
    """The value of a file with this text."""
    path = tmp_path / "a.yaml"
    path.write_text(text)
    return load_yaml(SourceFile(path))


def test_values_are_plain(tmp_path: Path) -> None:
    """Times stay texts, and anchors stand for what they name."""
    text = "a: &x [1, 2.5, true, null]\nb: *x\nc: 2020-01-01\nd: !!python/tuple [1]\n"
    assert loaded(tmp_path, text) == {
        "a": [1, 2.5, True, None],
        "b": [1, 2.5, True, None],
        "c": "2020-01-01",
        "d": [1],
    }


def test_a_byte_stream_is_its_bytes(tmp_path: Path) -> None:
    """As old versions of VCR.py wrote it."""
    text = "a: !!python/object/new:_io.BytesIO\n  state: !!python/tuple [!!binary aGk=, 0, null]\n"
    assert loaded(tmp_path, text) == {"a": b"hi"}


@pytest.mark.parametrize("text", ["a: [", "\0", "a: !!python/object:os.x {}", "? [a]\n: 1", "a: 1\n---\nb: 2"])
def test_what_cannot_be_read_is_a_sentence(text: str, tmp_path: Path) -> None:
    """With the file."""
    with pytest.raises(UnreadableSource, match=r"a\.yaml cannot be imported: it is not YAML"):
        loaded(tmp_path, text)
