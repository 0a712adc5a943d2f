"""Write exchanges onto a cassette, one by one, as a recorder would: masked, with only the header fields it stores.

Holds the recorder's lock from the first exchange until `seal`. Each exchange is a transaction of its own, so that what
was added is on the cassette whatever becomes of the program.
"""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import count
from pathlib import Path

from replayproxy.cassette.editing.rewrite import without_secrets
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.headers import STORED
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.redaction import SALT_BYTES, Redactor
from replayproxy.errors import CassetteError, SettingsError
from replayproxy.model import Exchange, Leg
from replayproxy.ports import ExchangePart


def create(path: Path, rules: MatchRules | None, redact: tuple[str, ...]) -> None:
    """Make an empty cassette. Raises `CassetteError` where a file has that name already."""
    if path.exists():
        raise CassetteError(f"{path} is there already: name another file, remove it, or open it")
    keeper = CassetteWriter(path, Matcher(rules or MatchRules(), Redactor(os.urandom(SALT_BYTES), redact)))
    try:
        keeper.seal()
    except BaseException:
        keeper.close()
        raise


class CassetteAppender:
    """Adds to a cassette that is there, by its own match rules and redaction."""

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
        self._keeper = CassetteWriter(path, self._matcher)
        self._tapes = count(1)

    def add(self, exchange: Exchange) -> None:
        """Write one exchange. Raises `CassetteError`; then nothing of it is there."""
        keeper = self._keeper
        keeper.begin()
        try:
            # Masked before fields are left out: a credential in a header is what its echo in a body is known by.
            keeper.keep(ExchangePart.of(next(self._tapes), self._stored(without_secrets(exchange, self._redactor))))
            keeper.commit()
        except BaseException:
            keeper.rollback()
            raise
        keeper.train_when_due()

    def _stored(self, exchange: Exchange) -> Exchange:
        """The exchange with the header fields that a cassette may hold."""
        request = replace(
            exchange.request, headers=STORED.of_request(exchange.request.headers, self._matcher.compared_headers)
        )
        response = replace(exchange.response, headers=STORED.of_answer(exchange.response.headers))
        return replace(exchange, request=request, response=response, legs=tuple(map(self._leg, exchange.legs)))

    def _leg(self, leg: Leg) -> Leg:
        request = replace(leg.request, headers=STORED.of_request(leg.request.headers))
        return replace(
            leg, request=request, response=replace(leg.response, headers=STORED.of_answer(leg.response.headers))
        )

    def seal(self) -> None:
        """End adding: what was written becomes one file, and the lock is given back."""
        try:
            self._keeper.seal()
        except BaseException:
            self._keeper.close()
            raise
