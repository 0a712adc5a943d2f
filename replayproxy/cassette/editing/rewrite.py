"""Write a cassette anew without its secrets: every exchange and leg through a redactor, new keys, new digests.

    seal ──▶ read each exchange ──▶ redact ──▶ a new file beside it ──▶ verify, scan ──▶ replace

Nothing of the old file is copied but what went through the redactor: dictionaries and vocabularies are trained anew,
and there are no free pages. The old file stays as it is until the new one has been proved.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from replayproxy.cassette import database, packing
from replayproxy.cassette.checking.secrets import scan
from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.editing.replace import fold, replacing
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.identity.rules import Matcher
from replayproxy.core.redaction import SALT_BYTES, Redactor
from replayproxy.core.redaction.credentials import NONE
from replayproxy.errors import CassetteError
from replayproxy.model import Exchange, Leg
from replayproxy.ports import ExchangePart

OWN = ("match", "redaction", "creator")
"""What the keeper says of a new file by itself."""


@dataclass(frozen=True, slots=True)
class Redacted:
    """What became of it. `masked`: how often what was masked, by kind. `left`: kind and name of what is not ours, which
    nobody can look into and which the new file does not have."""

    exchanges: int
    masked: Counter[str]
    left: tuple[tuple[str, str], ...] = ()


def redact(path: Path, rules: Sequence[str] = (), out: Path | None = None) -> Redacted:
    """Rewrite `path`, or write `out`. Its own rules stay, these come to them.

    Raises `CassetteError` where a file cannot be read or written or the result does not hold, `SettingsError`.
    """
    if out is not None and out.exists():
        raise CassetteError(f"{out} is there already: name another file, or remove it")
    fold(path)
    lock = database.Lock(path)
    try:
        with replacing(path if out is None else out) as fresh:
            redacted = _write(path, fresh, rules)
            _prove(fresh, redacted.exchanges)
    finally:
        lock.release()
    return redacted


def _write(path: Path, fresh: Path, rules: Sequence[str]) -> Redacted:
    masked: Counter[str] = Counter()
    with CassetteReader(path, abandoned=True) as cassette:  # the lock is ours
        own = cassette.redactor
        own_rules = own.rules if own is not None else ()
        salt = own.salt if own is not None else secrets.token_bytes(SALT_BYTES)
        redactor = Redactor(salt, (*own_rules, *(rule for rule in rules if rule not in own_rules)))
        masked.update(leak.kind for leak in scan(path, rules))
        matcher = Matcher(cassette.rules, redactor)
        writer = CassetteWriter(fresh, matcher)
        exchanges = 0
        try:
            rows = cassette.all("SELECT id FROM exchange WHERE state = 1 ORDER BY recorded_at, id")
            for written, (number,) in enumerate(rows, 1):
                writer.begin()
                writer.keep(ExchangePart.of(written, without_secrets(cassette.exchange(number), redactor)))
                writer.commit()
                writer.train_when_due()
                exchanges = written
            writer.seal()
        except BaseException:
            writer.close()
            raise
        _copy_rest(cassette, fresh, redactor)
        foreign = cassette.foreign
    return Redacted(exchanges, masked, foreign)


def without_secrets(exchange: Exchange, redactor: Redactor) -> Exchange:
    """All of it through one redactor: the request, the answer, the legs, the scope."""
    return replace(
        exchange,
        request=redactor.request(exchange.request),
        response=redactor.response(exchange.response, redactor.credentials(exchange.request)),
        scope=redactor.text(exchange.scope, NONE),
        legs=tuple(_leg(leg, redactor) for leg in exchange.legs),
    )


def _leg(leg: Leg, redactor: Redactor) -> Leg:
    return replace(
        leg,
        upstream=redactor.text(leg.upstream, NONE),
        request=redactor.request(leg.request),
        response=redactor.response(leg.response, redactor.credentials(leg.request)),
    )


def _copy_rest(cassette: CassetteReader, fresh: Path, redactor: Redactor) -> None:
    """What is not an exchange: provenance, and what was dropped."""
    with database.translated(str(fresh)), closing(database.write(fresh, full=True)) as writing:
        writing.execute("BEGIN IMMEDIATE")
        for name, value in cassette.all("SELECT name, value FROM meta"):
            if name not in OWN:
                writing.execute("INSERT INTO meta VALUES (?, ?)", (name, redactor.text(value, NONE)))
        for at, reason, exchanges in cassette.all("SELECT dropped_at, reason, exchanges FROM dropped"):
            writing.execute("INSERT INTO dropped VALUES (?, ?, ?)", (at, redactor.text(reason, NONE), exchanges))
        writing.execute("COMMIT")
        writing.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        writing.execute("PRAGMA journal_mode = DELETE")
        packing.pack(writing)


def _prove(fresh: Path, expected: int) -> None:
    """Read the new file as a stranger would. Raises `CassetteError` where it is not what it is to be."""
    exchanges, problems = verify(fresh)
    if problems or exchanges != expected:
        what = problems[0].what if problems else f"it has {exchanges} exchanges and not {expected}"
        raise CassetteError(
            f"the rewritten cassette does not hold ({what}): the old one is as it was; please report this"
        )
    leak = next((leak for leak in scan(fresh) if "be looked into" not in leak.kind), None)
    if leak is not None:
        raise CassetteError(
            f"the rewritten cassette still holds a secret ({leak.where} {leak.field}: {leak.kind}): the old one is as"
            " it was; please report this"
        )
