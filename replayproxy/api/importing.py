"""Make a cassette of files that other programs have written.

    SourceFile ──▶ Format.read ──▶ each exchange ──▶ masked, as a recorder does ──▶ a new file ──▶ its name

A cassette appears whole or not at all. What the files had lost, and what their times are worth, is stored with it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

from replayproxy.cassette.editing.redact import without_secrets
from replayproxy.cassette.editing.replace import replacing
from replayproxy.cassette.editing.rewrite import refuse_existing, sealed_at_end
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.cassette.writer import left_out as left_out_of
from replayproxy.core.answers import fault_in_answer
from replayproxy.core.headers import STORED
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.redaction import SALT_BYTES, Redactor
from replayproxy.errors import SettingsError
from replayproxy.formats.bodies import cut_at_events
from replayproxy.formats.format import Beat, CassetteOrigin, Format, ImportedExchange, Kept, Notes, Part
from replayproxy.formats.source import SourceFile, UnreadableSource
from replayproxy.formats.table import folder_format, format_named, format_of
from replayproxy.model import Exchange, is_playable
from replayproxy.ports import ExchangePart

BATCH = 256
"""Exchanges that are written in one transaction."""

MOST_NAMES = 100
"""Names of files that are remembered."""

NOT_COPIED = frozenset({"creator", "left_out", "imported", "dictionary", "match", "redaction"})
"""Entries of `meta` that say something of the cassette that was exported, and not of this one."""


@dataclass(slots=True)
class ImportedFiles:
    """What became of an import. `beats`: how many exchanges have times of which worth."""

    exchanges: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    beats: Counter[Beat] = field(default_factory=Counter)
    notes: Notes = field(default_factory=Notes)
    lost: list[str] = field(default_factory=list)
    """Names of the parts that no file had kept."""
    empty: list[Path] = field(default_factory=list)
    """Files in which there was no exchange."""


@dataclass(frozen=True, slots=True)
class _Opened:
    source: SourceFile
    format: Format
    origin: CassetteOrigin


def import_files(
    out: Path,
    paths: Sequence[Path],
    format_name: str | None = None,
    *,
    redact: Sequence[str] = (),
    split_events: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> ImportedFiles:
    """Write the cassette `out` from these files; of a folder, from all files in it.

    The format is guessed unless it is named. `split_events` cuts a stream that came in one piece at its events. Raises
    `UnreadableSource` where a file is not in its format, `CassetteError` where `out` is there, `SettingsError`.
    """
    refuse_existing(out, "merge the two")
    files = [_opened(path, format_name) for path in _files(paths)]
    matcher = _matcher(files, redact)
    with replacing(out) as fresh, sealed_at_end(fresh, matcher) as writer:
        return _Import(writer, split_events, progress).all(files)


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """The files to read; of a folder that is in no format as a whole, all files in it, by their names."""
    for path in paths:
        if not path.is_dir() or folder_format(path) is not None:
            yield path
            continue
        found = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
        if not found:
            raise UnreadableSource(f"{path} is a folder without files: name a file to import")
        yield from found


def _opened(path: Path, format_name: str | None) -> _Opened:
    source = SourceFile(path)
    chosen = format_of(source) if format_name is None else format_named(format_name)
    if chosen.read is None:
        raise SettingsError(f"{chosen.name} can be exported, not imported")
    origin = CassetteOrigin() if chosen.origin is None else chosen.origin(source)
    return _Opened(source, chosen, origin)


# Rules


def _matcher(files: Sequence[_Opened], redact: Sequence[str]) -> Matcher:
    """The rules of the cassettes that were exported, which must agree; the default ones for all other files."""
    rules, salt, masked = MatchRules(), None, dict.fromkeys(redact)
    first: _Opened | None = None
    for file in files:
        if file.origin.redaction is not None:
            own_salt, own_rules = _redaction_of(file)
            salt = salt or own_salt
            masked |= dict.fromkeys(own_rules)
        if file.origin.match is None:
            continue
        try:
            found = MatchRules.of(dict(file.origin.match))
        except ValueError as error:
            raise file.source.error(f"its match rules cannot be used ({error})") from error
        if first is not None and found != rules:
            raise SettingsError(
                f"{file.source.path} was recorded with {found} and {first.source.path} with {rules}: import each into"
                " a cassette of its own"
            )
        first, rules = first or file, found
    return Matcher(rules, Redactor(salt or os.urandom(SALT_BYTES), tuple(masked)))


def _redaction_of(file: _Opened) -> tuple[bytes, list[str]]:
    match file.origin.redaction:
        case {"salt": str(salt), "rules": [*rules]} if all(isinstance(rule, str) for rule in rules):
            with suppress(ValueError, SettingsError):
                Redactor(b"", rules)
                return bytes.fromhex(salt)[:64], rules
    raise file.source.error("it does not say how its secrets were masked")


# Exchanges


class _Import:
    """One import under way."""

    def __init__(self, writer: CassetteWriter, split_events: bool, progress: Callable[[int], None]) -> None:
        assert writer.matcher.redactor is not None
        self._writer = writer
        self._redactor = writer.matcher.redactor
        self._split_events = split_events
        self._progress = progress
        self._fields_left_out: Counter[str] = Counter()
        self._done = ImportedFiles()

    def all(self, files: Sequence[_Opened]) -> ImportedFiles:
        """Every file after the other, and what is to be remembered of them."""
        done = self._done
        for file in files:
            before = done.exchanges
            self._file(file)
            done.formats[file.format.name] += 1
            for reason, exchanges, at in file.origin.dropped:
                self._in_transaction(partial(self._writer.note_dropped, reason, exchanges, at))
            if done.exchanges == before:
                done.empty.append(file.source.path)
        if not done.exchanges:
            files_read = ", ".join(str(path) for path in done.empty)
            raise UnreadableSource(f"there is no exchange in {files_read}{self._why()}")
        done.lost = [part.value for part in Part if all(file.format.kept(part) is Kept.NO for file in files)]
        self._in_transaction(lambda: self._note(files))
        return done

    def _why(self) -> str:
        reasons = [f"{reason} ({count})" for reason, count in self._done.notes.skipped.most_common()]
        return f": {', '.join(reasons)}" if reasons else ""

    def _note(self, files: Sequence[_Opened]) -> None:
        for name, value in files[0].origin.meta.items() if len(files) == 1 else ():
            if name not in NOT_COPIED:
                self._writer.note(name, value)
        stored = sum((left_out_of(file.origin.meta.get("left_out")) for file in files), self._fields_left_out)
        if stored:
            self._writer.note("left_out", stored)
        if all(file.format.is_own for file in files):
            return  # nothing was lost: it is the same recording
        imported = {
            "formats": dict(self._done.formats),
            "files": [file.source.name for file in files][:MOST_NAMES],
            "beat": {beat.value: count for beat, count in self._done.beats.items()},
            "lost": self._done.lost,
            "left_out": dict(self._done.notes.skipped + self._done.notes.left_out),
        }
        self._writer.note("imported", imported)

    def _in_transaction(self, work: Callable[[], None]) -> None:
        self._writer.begin()
        try:
            work()
            self._writer.commit()
        except BaseException:
            self._writer.rollback()
            raise

    def _file(self, file: _Opened) -> None:
        assert file.format.read is not None
        found = file.format.read(file.source, self._done.notes)
        while batch := list(islice(found, BATCH)):
            self._in_transaction(partial(self._batch, file, batch))
            self._writer.train_when_due()
            self._progress(self._done.exchanges)

    def _batch(self, file: _Opened, batch: Sequence[ImportedExchange]) -> None:
        for exchange, beat in batch:
            part = self._part(file, exchange, beat)
            if part is not None:
                self._writer.keep(part)
                self._done.exchanges += 1
                self._done.beats[beat] += 1

    def _part(self, file: _Opened, exchange: Exchange, beat: Beat) -> ExchangePart | None:
        """What is written of an exchange; None where no client could be given its answer."""
        number = self._done.exchanges + 1
        if file.format.is_own:
            return ExchangePart.of(number, without_secrets(exchange, self._redactor))
        response = exchange.response
        if is_playable(response.status, response.ending):
            fault = fault_in_answer(exchange.request.method, response)
            if fault is not None:
                self._done.notes.skipped[f"an answer that HTTP does not allow: {fault}"] += 1
                return None
        if self._split_events and beat not in (Beat.CHUNKS, Beat.EVENTS):
            exchange = replace(exchange, response=cut_at_events(response))
        # Masked before fields are left out: a body may repeat a credential that only its field identifies.
        masked = without_secrets(exchange, self._redactor)
        left_out = STORED.left_out(masked.response.headers)
        self._fields_left_out.update(left_out)
        return ExchangePart.of(number, STORED.of_exchange(masked, self._writer.matcher.compared_headers))
