"""Captured exchanges get onto a cassette."""

from __future__ import annotations

from pathlib import Path

import pytest

from replayproxy.api.cassettes import Cassette
from replayproxy.errors import CassetteError
from replayproxy.vllm_plugin.capture_thread import CaptureThread
from replayproxy.vllm_plugin.loading import load_recordings
from tests.recordings import record
from tests.vllm_plugin.test_capture import captured


def test_a_cassette_is_made_and_added_to(tmp_path: Path) -> None:
    """A second capture goes on where the first one ended."""
    path = tmp_path / "new.cassette"
    for last in (25, 7):
        thread = CaptureThread(path)
        thread.add(captured(5, last))
        thread.close()
        assert (thread.written, thread.dropped) == (1, 0)
    thread = CaptureThread(path)
    thread.add(captured(5, 6, 7, 8, 9))
    thread.close()
    assert [found.tokens for found in load_recordings([path])] == [(5, 25), (5, 6, 7, 8, 9)]


def test_a_pause_seals_the_cassette(tmp_path: Path) -> None:
    """vLLM kills its engine when it is told to end: then the file is whole, and others may write to it."""
    path = tmp_path / "new.cassette"
    thread = CaptureThread(path)
    for number in (1, 2):
        thread.add(captured(5, 25))
        assert thread.sealed.wait(30)
        assert thread.written == number
        assert not Path(f"{path}-wal").exists()
    assert [found.tokens for found in load_recordings([path])] == [(5, 25), (5, 25)]
    thread.close()


def test_what_cannot_be_written_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And the engine goes on."""
    path = record(tmp_path / "locked.cassette", [captured(5, 25)])
    thread = CaptureThread(path)
    with Cassette.open(path) as other:  # which holds the lock of whoever records from its first exchange on
        other.add(captured(5, 25))
        thread.add(captured(5, 25))
        thread.close()
    assert (thread.written, thread.dropped) == (0, 1)
    assert "an answer could not be captured" in caplog.text


def test_a_file_of_another_kind_stops_the_start(tmp_path: Path) -> None:
    """Before the model is loaded for nothing."""
    path = tmp_path / "text"
    path.write_text("text")
    with pytest.raises(CassetteError, match="text"):
        CaptureThread(path)
