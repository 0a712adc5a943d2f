"""Write the exchanges of a cassette in the format of another program.

    CassetteBrowser ──▶ each exchange, masked again ──▶ Format.write ──▶ bytes

Only exchanges that have ended are written. Whether the cassette holds a secret that its recorder has not masked can be
checked before anything is written (`refuse_secrets`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import orjson

import replayproxy
from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.cassette.editing.redact import without_secrets
from replayproxy.core.redaction import SALT_BYTES, Redactor
from replayproxy.errors import CassetteError, SettingsError
from replayproxy.formats.format import CassetteOrigin, ExportContext, Format, Notes, StoredExchange
from replayproxy.views.port import EVERYTHING, ExchangeFilter

OWN_META = ("match", "redaction")


class HoldsSecret(CassetteError):
    """An exchange holds a secret, and what was to be written is to be shown to others."""

    exit_code = 6


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written. `in_flight`: exchanges that have not ended, which were left out."""

    exchanges: int
    in_flight: int
    notes: Notes


@dataclass(slots=True)
class CassetteExport:
    """One export: what is chosen, and how it is written. Use `write` once.

    `redact` are rules besides those of the cassette. `progress` is called with the number of exchanges so far.
    """

    browser: CassetteBrowser
    format: Format
    chosen: ExchangeFilter = EVERYTHING
    redact: Sequence[str] = ()
    base_url: str = "http://127.0.0.1:8000"
    with_bodies: bool = True
    progress: Callable[[int], None] = lambda _: None
    notes: Notes = field(default_factory=Notes)

    def __post_init__(self) -> None:
        if self.format.write is None:
            raise SettingsError(f"{self.format.name} can be imported, not exported")
        self.chosen = replace(self.chosen, finished=True)
        self.browser.check(self.chosen)

    def count(self) -> int:
        """How many exchanges will be written."""
        return self.browser.count(self.chosen)

    def refuse_secrets(self) -> None:
        """Raise `HoldsSecret` where a chosen exchange holds what a recorder would mask, and `--redact` does not."""
        redactor = self._redactor()
        for row in self.browser.rows(self.chosen):
            exchange = self.browser.exchange(row["number"])
            if not self.redact and without_secrets(exchange, redactor) != exchange:
                raise HoldsSecret(
                    f"exchange {row['id']} of {self.browser.path} holds a secret, and this file is to be shown to"
                    f" others: run `replayproxy verify --secrets {self.browser.path}` to see where, and `replayproxy"
                    " redact` to take it out"
                )

    def write(self, out: BinaryIO) -> Exported:
        """Write all of it. Raises `Damaged` where the cassette is not what was written."""
        assert self.format.write is not None
        written = 0

        def counted() -> Iterator[StoredExchange]:
            nonlocal written
            for stored in self._exchanges():
                yield stored
                written += 1
                self.progress(written)

        context = ExportContext(
            name=self.browser.path.name,
            version=replayproxy.__version__,
            origin=self._origin(),
            base_url=self.base_url,
            with_bodies=self.with_bodies,
            notes=self.notes,
        )
        self.format.write(counted(), out, context)
        return Exported(written, self._in_flight(), self.notes)

    def _exchanges(self) -> Iterator[StoredExchange]:
        redactor = self._redactor() if self.redact else None
        for row in self.browser.rows(self.chosen):
            exchange = self.browser.exchange(row["number"])
            yield StoredExchange(row, exchange if redactor is None else without_secrets(exchange, redactor))

    def _redactor(self) -> Redactor:
        return Redactor.extended(self.browser.cassette.redactor, self.redact, os.urandom(SALT_BYTES))

    def _origin(self) -> CassetteOrigin:
        meta = {name: _value(text) for name, text in self.browser.cassette.all("SELECT name, value FROM meta")}
        match, redaction = (meta.pop(name, None) for name in OWN_META)
        if self.redact:
            redactor = self._redactor()
            redaction = {"salt": redactor.salt.hex(), "rules": list(redactor.rules)}
        dropped = self.browser.cassette.all("SELECT reason, exchanges, dropped_at FROM dropped ORDER BY dropped_at")
        return CassetteOrigin(match, redaction, meta, [(str(r), int(n), int(at)) for r, n, at in dropped])

    def _in_flight(self) -> int:
        (number,) = self.browser.cassette.one("SELECT count(*) FROM exchange WHERE state = 0")
        return int(number)


def _value(text: object) -> Any:
    try:
        return orjson.loads(str(text))
    except orjson.JSONDecodeError:
        return text


def export(path: Path, to: Format, out: BinaryIO, chosen: ExchangeFilter = EVERYTHING) -> Exported:
    """Write a cassette to a stream. Raises `CassetteError` where it cannot be read."""
    with CassetteBrowser.open(path) as browser:
        return CassetteExport(browser, to, chosen).write(out)
