"""A file to import: bounded, whatever is in it, and each refusal is a sentence."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from replayproxy.formats import source as source_module
from replayproxy.formats.source import MOST_NESTED, SourceFile, UnreadableSource, depth_exceeds


def source(tmp_path: Path, content: bytes) -> SourceFile:
    """A file with this content."""
    path = tmp_path / "file"
    path.write_bytes(content)
    return SourceFile(path)


def test_lines_are_numbered_and_blank_ones_are_not_given(tmp_path: Path) -> None:
    """The last one needs no line end."""
    assert list(source(tmp_path, b"{}\n\n \n[1]").lines()) == [(1, b"{}\n"), (4, b"[1]")]


def test_gzip_is_undone(tmp_path: Path) -> None:
    """Wherever the file is read."""
    packed = source(tmp_path, gzip.compress(b'{"a":1}\n{"b":2}\n'))
    assert packed.first_value == {"a": 1}
    assert [value for _, value in packed.json_lines()] == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"{", "line 1 is not JSON"),
        (b"{}\n[]\n", "line 2 is not a JSON object"),
        (gzip.compress(b"{}" * 500)[:-9], "its gzip is damaged"),
        (b"[" * 100_000, "line 1 is not JSON"),
        (b'{"a":' * (MOST_NESTED + 1) + b"1" + b"}" * (MOST_NESTED + 1), "nested deeper than"),
        (b'{"a":"\\ud800"', "is not JSON"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(content: bytes, what: str, tmp_path: Path) -> None:
    """With the file and what to do."""
    with pytest.raises(UnreadableSource, match=what) as raised:
        list(source(tmp_path, content).json_lines())
    assert str(raised.value).endswith("Check the file, or name its format with --from.")


def test_half_of_a_surrogate_pair_is_read(tmp_path: Path) -> None:
    """JavaScript and Python write them."""
    assert source(tmp_path, b'"\\ud800"').document() == "\ud800"


def test_a_missing_file_and_a_folder_are_sentences(tmp_path: Path) -> None:
    """Of the operating system's words."""
    for path, what in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(UnreadableSource, match=f"{path.name} cannot be read: {what}"):
            _ = SourceFile(path).beginning


def test_lines_and_documents_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of what gzip makes of a small file: it is refused before it is parsed."""
    monkeypatch.setattr(source_module, "LONGEST_LINE", 1000)
    monkeypatch.setattr(source_module, "LONGEST_DOCUMENT", 1000)
    bomb = source(tmp_path, gzip.compress(b"[" + b" " * 5_000_000 + b"]"))
    with pytest.raises(UnreadableSource, match="line 1 is longer than 1000 bytes"):
        list(bomb.lines())
    with pytest.raises(UnreadableSource, match="longer than 1000 bytes: import it in parts"):
        bomb.document()


def test_depth_is_counted_without_recursion() -> None:
    """A list in itself as deep as memory would end the interpreter otherwise."""
    value: object = 1
    for _ in range(100_000):
        value = [value]
    assert depth_exceeds(value, MOST_NESTED)
    assert not depth_exceeds({"a": [{"b": 1}]}, 3)
    assert depth_exceeds({"a": [{"b": [1]}]}, 3)
