"""SHA-256 of cassette files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from replayproxy.cassette.file_digest import file_digest, file_digests


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    """Also when the file was replaced, or written over at the same size."""
    path = tmp_path / "a.cassette"
    for content in (b"one", b"two", b"longer"):
        new = tmp_path / "new"
        new.write_bytes(content)
        new.replace(path)
        assert file_digest(path) == file_digest(path) == hashlib.sha256(content).hexdigest()
    path.write_bytes(b"shorter")
    assert file_digest(path) == hashlib.sha256(b"shorter").hexdigest()


def test_files_that_do_not_exist_have_none(tmp_path: Path) -> None:
    """A cassette that is to be recorded, for one; a single file raises."""
    (tmp_path / "a.cassette").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    paths = [tmp_path / name for name in ("a.cassette", "b.cassette", "folder")]
    assert file_digests(paths) == {str(paths[0]): hashlib.sha256().hexdigest()}
    with pytest.raises(FileNotFoundError):
        file_digest(paths[1])
