"""Exports: which exchanges, masked again, counted; and what is to be shown to others holds no secret."""

from __future__ import annotations

import io
from pathlib import Path

import orjson
import pytest

from replayproxy.api.exporting import CassetteExport, HoldsSecret, export
from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.errors import SettingsError
from replayproxy.formats.format import Format
from replayproxy.formats.jsonl import JSONL
from replayproxy.ports import ExchangePart
from replayproxy.views.port import ExchangeFilter
from tests.cli.tapes import chat, in_flight, writing
from tests.formats.files import export_of, exported
from tests.recordings import asked, exchange, record, said

SECRET = "sk-proj-" + "aB3" * 12


def lines(content: bytes) -> list[dict[str, object]]:
    """The exchanges of an export as JSON lines."""
    return [orjson.loads(line) for line in content.splitlines()[1:]]


def test_a_filter_chooses_exchanges(tmp_path: Path) -> None:
    """By the columns of the view."""
    path = record(
        tmp_path / "a.cassette", [exchange(asked(str(n)), said([b"ok"], status=200 + n), n) for n in range(3)]
    )
    chosen = exported(path, JSONL, ExchangeFilter(where="status > :s", values=(("s", 200),)))
    assert len(lines(chosen)) == 2
    with pytest.raises(SettingsError, match="cannot be run"):
        exported(path, JSONL, ExchangeFilter(where="nothing = 1"))


def test_exchanges_in_flight_are_left_out_and_counted(tmp_path: Path) -> None:
    """Nobody knows how they end."""
    path = tmp_path / "a.cassette"
    with writing(path, sealed=False) as keep:
        keep(chat("whole"), in_flight(chat("half")))
        content, done = export_of(path, JSONL)
    assert (len(lines(content)), done.exchanges, done.in_flight) == (1, 1, 1)


def test_rules_mask_more_than_the_recorder_did(tmp_path: Path) -> None:
    """And are part of what a lossless export says."""
    path = record(tmp_path / "a.cassette", [exchange(asked("cust-123456"), said([b"cust-123456"]))])
    content = exported(path, JSONL, redact=("re:cust-[0-9]{6}",))
    assert b"cust-123456" not in content
    assert orjson.loads(content.splitlines()[0])["redaction"]["rules"] == ["re:cust-[0-9]{6}"]


def leaky(path: Path) -> Path:
    """A cassette of a time before secrets were masked."""
    writer = CassetteWriter(path, Matcher(MatchRules()))
    writer.begin()
    writer.keep(ExchangePart.of(1, exchange(asked(f"use {SECRET}"), said([b"ok"]))))
    writer.commit()
    writer.seal()
    return path


def test_a_secret_is_refused_by_its_exchange(tmp_path: Path) -> None:
    """Unless it is masked on the way out."""
    with CassetteBrowser.open(leaky(tmp_path / "a.cassette")) as browser:
        with pytest.raises(HoldsSecret, match="holds a secret") as raised:
            CassetteExport(browser, JSONL).refuse_secrets()
        assert SECRET not in str(raised.value)
        assert raised.value.exit_code == 6
        CassetteExport(browser, JSONL, redact=("re:nothing-at-all",)).refuse_secrets()


def test_progress_is_told_after_each_exchange(tmp_path: Path) -> None:
    """And how many there will be before."""
    path = record(tmp_path / "a.cassette", [exchange(asked(str(n)), said([b"ok"]), n) for n in range(3)])
    seen: list[int] = []
    with CassetteBrowser.open(path) as browser:
        work = CassetteExport(browser, JSONL, progress=seen.append)
        assert work.count() == 3
        work.write(io.BytesIO())
    assert seen == [1, 2, 3]


def test_a_format_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """By its name."""
    path = record(tmp_path / "a.cassette", [exchange(asked("a"), said([b"ok"]))])
    with pytest.raises(SettingsError, match="read-only can be imported, not exported"):
        export(path, Format("read-only", "x", {}, "All.", ".x"), io.BytesIO())
