"""Exports and imports for the tests of formats: a cassette with every kind of exchange, and what two cassettes share.

path = every_kind(tmp_path)                     a cassette
text = exported(path, HAR)                      the bytes of an export
copy = imported(tmp_path / "x.har", text)       the cassette made of them
exchanges_of(copy)                              what is on it
"""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from replayproxy.api.exporting import CassetteExport, Exported
from replayproxy.api.importing import ImportedFiles, import_files
from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.core.identity.rules import MatchRules
from replayproxy.formats.format import Format
from replayproxy.model import Exchange
from replayproxy.views.port import EVERYTHING, ExchangeFilter
from tests.recordings import exchange, read, record, samples


def every_kind(folder: Path, rules: MatchRules | None = None) -> Path:
    """A cassette with an exchange of every kind, and one of each flag."""
    found = samples()
    found[0] = replace(found[0], scope="a/scope", stalled=2, starved=7_000, client_left=True)
    return record(folder / "every.cassette", found, rules=rules)


def exported(path: Path, to: Format, chosen: ExchangeFilter = EVERYTHING, **options: Any) -> bytes:
    """The bytes of an export."""
    return export_of(path, to, chosen, **options)[0]


def export_of(path: Path, to: Format, chosen: ExchangeFilter = EVERYTHING, **options: Any) -> tuple[bytes, Exported]:
    """The bytes of an export, and what it says."""
    out = io.BytesIO()
    with CassetteBrowser.open(path) as browser:
        done = CassetteExport(browser, to, chosen, **options).write(out)
    return out.getvalue(), done


def imported(path: Path, content: bytes | str | None = None, **options: Any) -> tuple[Path, ImportedFiles]:
    """The cassette made of a file, beside it, and what the import says."""
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    out = path.with_name(f"{path.name}.cassette")
    return out, import_files(out, [path], **options)


def exchanges_of(path: Path) -> list[Exchange]:
    """All exchanges of a cassette, by time."""
    return sorted(read(path), key=lambda each: each.recorded_at)


def nature_of(path: Path) -> list[tuple[Any, ...]]:
    """What makes each exchange of a cassette what it is: all columns but its number, and its whole digest."""
    with CassetteBrowser.open(path) as browser:
        digests = {each.number: each.digest for each in browser.newest_ids(1_000_000)}
        return [
            (digests[row["number"]], *(value for name, value in row.items() if name != "number"))
            for row in browser.rows()
        ]


def meta_of(path: Path) -> dict[str, Any]:
    """The table `meta` of a cassette."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return {name: orjson.loads(text) for name, text in connection.execute("SELECT name, value FROM meta")}


__all__ = ["every_kind", "exchange", "exchanges_of", "export_of", "exported", "imported", "meta_of", "nature_of"]
