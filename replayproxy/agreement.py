"""Agree on the match rules and the redactor of a run: from its options, and from the cassettes that exist.

A cassette has the rules that made its keys, and the salt that made its masks; options may name other rules. What counts
is decided here, before anything is played or recorded.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from replayproxy.cassette.reader import CassetteReader
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.redaction import SALT_BYTES, Redactor
from replayproxy.errors import SettingsError, setting
from replayproxy.settings import Settings

log = logging.getLogger("replayproxy")


def agree(settings: Settings) -> Matcher:
    """Return what makes the keys and the masks of this run. Raises `SettingsError` where the options do not fit."""
    redactor = _redactor(settings)
    return Matcher(_rules(settings), redactor)


def apply_rules(cassette: CassetteReader, matcher: Matcher) -> None:
    """Let a cassette be played by the rules of this run, and warn where its own ones differ."""
    if cassette.rules != matcher.rules:
        log.warning(
            "%s was recorded with %s and is replayed with %s: its keys are derived again; --match-from"
            " cassette keeps its own",
            *(cassette.path, cassette.rules, matcher.rules),
        )
        cassette.use_rules(matcher)
    own, redactor = cassette.redactor, matcher.redactor
    if own is not None and redactor is not None and (own.salt, own.rules) != (redactor.salt, redactor.rules):
        log.warning(
            "%s was recorded with another salt or other rules of redaction than the first cassette: a request with a"
            " secret may not match its recordings",
            cassette.path,
        )


def _rules(settings: Settings) -> MatchRules:
    """The rules of the options; else those of the first cassette that exists; else the default ones."""
    if settings.match is not None and settings.match_from != "cassette":
        return settings.match
    if settings.match_from == "flags":
        return MatchRules()
    first = _first_cassette(settings)
    if first is None:
        return settings.match or MatchRules()
    with CassetteReader(first) as cassette:
        return cassette.rules


def _redactor(settings: Settings) -> Redactor | None:
    """The redactor of the first cassette that exists; a new cassette gets a salt of its own.

    None where that cassette is older than redaction.
    """
    first = _first_cassette(settings)
    new = Redactor(settings.recording.salt or os.urandom(SALT_BYTES), settings.redact or ())
    if first is None:
        return new
    with CassetteReader(first) as cassette:
        if not cassette.meta:  # its recorder was killed before it had written the first row
            return new
        stored = cassette.redactor
    if stored is None and settings.records:
        raise SettingsError(
            f"{first} was recorded before secrets were masked: run `replayproxy redact {first}`, then record"
            " further; or record to another file"
        )
    if settings.redact is not None and (stored is None or stored.rules != settings.redact):
        raise SettingsError(
            f"{first} was recorded with other redaction rules ({' '.join(stored.rules) if stored else 'none'}):"
            f" leave {setting('redact')} away, run `replayproxy redact {first}` with these, or record to another file"
        )
    return stored


def _first_cassette(settings: Settings) -> Path | None:
    return next((path for path in settings.played_cassettes if path.is_file() and path.stat().st_size), None)
