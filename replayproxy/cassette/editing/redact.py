"""Write a cassette anew without its secrets: every exchange and leg through a redactor, new keys, new digests.

Nothing of the old file is copied but what went through the redactor: dictionaries are trained anew, and there are no
free pages. The new file is searched for secrets before it takes the old one's place.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from replayproxy.cassette import database, packing, server_state
from replayproxy.cassette.checking.secrets import scan
from replayproxy.cassette.editing.rewrite import finished_exchanges, prove, rewriting, sealed_at_end, write_all
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.watched import Watch, unwatched
from replayproxy.core.identity.rules import Matcher
from replayproxy.core.redaction import SALT_BYTES, Redactor
from replayproxy.core.redaction.credentials import NONE
from replayproxy.model import Exchange, Leg

OWN = ("match", "redaction", "creator")
"""Entries of `meta` that the writer of a new file writes by itself."""


@dataclass(frozen=True, slots=True)
class Redacted:
    """What was written. `masked`: how many secrets, by kind. `left`: kind and name of tables and views of others, which
    cannot be searched and are therefore not in the new file."""

    exchanges: int
    masked: Counter[str]
    left: tuple[tuple[str, str], ...] = ()


def redact(path: Path, rules: Sequence[str] = (), out: Path | None = None, watch: Watch = unwatched) -> Redacted:
    """Rewrite `path`, or write `out`, with the rules of the cassette and these.

    Raises `CassetteError` if a file cannot be read or written or the result is not as it should be, `SettingsError`.
    """
    with rewriting(path, out) as fresh, CassetteReader(path, abandoned=True) as cassette:  # the lock is ours
        masked = Counter(leak.kind for leak in scan(path, rules, watch))
        redactor = Redactor.extended(cassette.redactor, rules, secrets.token_bytes(SALT_BYTES))
        with sealed_at_end(fresh, Matcher(cassette.rules, redactor)) as writer:
            exchanges = write_all(
                writer, (without_secrets(each, redactor) for each in finished_exchanges(cassette, watch))
            )
        _copy_rest(cassette, fresh, redactor)
        prove(fresh, lambda found: _what_is_left(fresh, found, exchanges, watch), watch)
        return Redacted(exchanges, masked, cassette.foreign)


def _what_is_left(fresh: Path, found: int, expected: int, watch: Watch) -> str | None:
    """Return what of the new file is not as it should be."""
    if found != expected:
        return f"it has {found} exchanges and not {expected}"
    # Text in an unknown content coding cannot be searched, in no file.
    leak = next((leak for leak in scan(fresh, watch=watch) if "be looked into" not in leak.kind), None)
    return None if leak is None else f"it still holds a secret, {leak.where} {leak.field}: {leak.kind}"


def without_secrets(exchange: Exchange, redactor: Redactor) -> Exchange:
    """Return the exchange with its request, answer, legs and scope masked by one redactor."""
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
    """Copy what is not an exchange: provenance, and what was dropped."""
    with database.translated(str(fresh)), closing(database.write(fresh, full=True)) as writing:
        writing.execute("BEGIN IMMEDIATE")
        for name, value in cassette.all("SELECT name, value FROM meta"):
            if name not in OWN:
                writing.execute("INSERT INTO meta VALUES (?, ?)", (name, redactor.text(value, NONE)))
        for at, reason, exchanges in cassette.all("SELECT dropped_at, reason, exchanges FROM dropped"):
            writing.execute("INSERT INTO dropped VALUES (?, ?, ?)", (at, redactor.text(reason, NONE), exchanges))
        server_state.copy(cassette, writing, redactor)
        writing.execute("COMMIT")
        writing.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        writing.execute("PRAGMA journal_mode = DELETE")
        packing.pack(writing)
