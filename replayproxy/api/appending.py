"""Write exchanges to a cassette, one by one, as a recorder does: masked, and with only the header fields it stores.

Holds the recorder's lock from the first exchange until `seal`. Each exchange is a transaction of its own: it stays on
the cassette if the program is killed.
"""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

from replayproxy.cassette.editing.redact import without_secrets
from replayproxy.cassette.editing.rewrite import refuse_existing, sealed_at_end
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.headers import STORED
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.redaction import SALT_BYTES, Redactor
from replayproxy.errors import SettingsError
from replayproxy.model import Exchange
from replayproxy.ports import ExchangePart


def create(path: Path, rules: MatchRules | None, redact: tuple[str, ...]) -> None:
    """Make an empty cassette. Raises `CassetteError` where a file has that name already."""
    refuse_existing(path, "open it")
    with sealed_at_end(path, Matcher(rules or MatchRules(), Redactor(os.urandom(SALT_BYTES), redact))):
        pass


class CassetteAppender:
    """Adds to an existing cassette, by its own match rules and redaction."""

    def __init__(self, path: Path) -> None:
        """Raises `Locked`, `OlderFormat` or another `CassetteError`."""
        with CassetteReader(path) as cassette:
            rules, redactor = cassette.rules, cassette.redactor
        if redactor is None:
            raise SettingsError(
                f"{path} was recorded before secrets were masked: run `replayproxy redact {path}`, then add to it"
            )
        self._redactor = redactor
        self._matcher = Matcher(rules, redactor)
        self._writer = CassetteWriter(path, self._matcher)
        self._part_numbers = count(1)

    def add(self, exchange: Exchange) -> None:
        """Write one exchange. Raises `CassetteError`; then nothing of it was written."""
        writer = self._writer
        writer.begin()
        try:
            # Masked before fields are left out: a body may repeat a credential that only its header field identifies.
            masked = without_secrets(exchange, self._redactor)
            stored = STORED.of_exchange(masked, self._matcher.compared_headers)
            writer.keep(ExchangePart.of(next(self._part_numbers), stored))
            writer.commit()
        except BaseException:
            writer.rollback()
            raise
        writer.train_when_due()

    def seal(self) -> None:
        """End adding: make one file of what was written, and release the lock."""
        try:
            self._writer.seal()
        except BaseException:
            self._writer.close()
            raise
