"""Make one cassette of several: shards of a parallel run, replicas of a proxy, recordings of two people.

Equal requests are played in the order in which they were sent, whatever part they are on. An exchange that is on two
parts, because one began as a copy of the other, is kept once. Different answers to equal requests are all kept and
reported as conflicts: which of them is right only people can say. Each exchange is masked by the rules of all parts.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from replayproxy.cassette import database
from replayproxy.cassette.editing.redact import without_secrets
from replayproxy.cassette.editing.rewrite import new_cassette, refuse_existing, write_state
from replayproxy.cassette.queries import typed
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.watched import Watch, unwatched, watched
from replayproxy.cassette.writer import CassetteWriter, left_out
from replayproxy.core.identity.rules import Matcher
from replayproxy.core.redaction import Redactor
from replayproxy.errors import SettingsError
from replayproxy.model import Ending, Key, Response
from replayproxy.ports import ExchangePart


@dataclass(frozen=True, slots=True)
class Conflict:
    """Equal requests that were answered differently on different parts. `answers`: part and id, one per answer."""

    method: str
    path: str
    answers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Merged:
    """What was written. `again`: exchanges that an earlier part had already. `left`: kind and name of the tables and
    views of others on the parts, which are not copied."""

    exchanges: int
    again: int
    conflicts: tuple[Conflict, ...]
    left: tuple[tuple[str, str], ...] = ()


def merge(out: Path, parts: Sequence[Path], watch: Watch = unwatched) -> Merged:
    """Write `out` from the parts; if it is one of them, it is replaced.

    Raises `CassetteError` if a part cannot be read or `out` exists, and `SettingsError` if their match rules differ.
    """
    if not parts:
        raise SettingsError("there is nothing to merge: name at least one cassette")
    if not any(out.exists() and out.samefile(part) for part in parts if part.exists()):
        refuse_existing(out, "merge it too")
    with ExitStack() as opened:
        cassettes = [opened.enter_context(CassetteReader(part)) for part in parts]
        with new_cassette(out, _matcher(cassettes), watch) as writer:
            return _Merge(writer, cassettes, watch).all()


def merge_segments(out: Path, parts: Sequence[Path]) -> int:
    """Merge segments of one recording; returns the number of exchanges. Raises `CassetteError`, also of SQLite."""
    with database.translated(str(out)):
        return merge(out, parts).exchanges


def _matcher(cassettes: Sequence[CassetteReader]) -> Matcher:
    """Return the match rules, which all parts share, and a redactor with the rules of all and the first salt."""
    first = cassettes[0]
    for other in cassettes[1:]:
        if other.rules != first.rules:
            raise SettingsError(
                f"{other.path} was recorded with {other.rules} and {first.path} with {first.rules}: only cassettes of"
                " the same match rules make one"
            )
    redactors = [cassette.redactor for cassette in cassettes]
    salted = next((redactor for redactor in redactors if redactor is not None), None)
    if salted is None:
        return Matcher(first.rules)
    rules = dict.fromkeys(rule for redactor in redactors if redactor is not None for rule in redactor.rules)
    return Matcher(first.rules, Redactor(salted.salt, tuple(rules)))


class _Merge:
    """One merge: what was written so far, and how equal requests were answered."""

    def __init__(self, writer: CassetteWriter, cassettes: Sequence[CassetteReader], watch: Watch) -> None:
        self._watch = watch
        self._writer = writer
        self._matcher = writer.matcher
        self._cassettes = cassettes
        self._seen: set[tuple[bytes, int]] = set()
        self._answers: defaultdict[Key, dict[bytes, list[tuple[str, str]]]] = defaultdict(dict)
        self._requests: dict[Key, tuple[str, str]] = {}
        self._exchanges = self._again = 0

    def all(self) -> Merged:
        """Write one part after the other."""
        for cassette in self._cassettes:
            self._writer.begin()
            self._part(cassette)
            self._writer.commit()
        write_state(self._writer, *self._cassettes)
        if fields := sum((left_out(cassette.meta.get("left_out")) for cassette in self._cassettes), Counter()):
            self._writer.note("left_out", fields)
        self._writer.note("merged", [self._provenance(cassette) for cassette in self._cassettes])
        left = dict.fromkeys(thing for cassette in self._cassettes for thing in cassette.foreign)
        return Merged(self._exchanges, self._again, tuple(self._conflicts()), tuple(left))

    def _part(self, cassette: CassetteReader) -> None:
        redactor = self._matcher.redactor
        alike = redactor is None or (
            cassette.redactor is not None
            and (cassette.redactor.salt, cassette.redactor.rules) == (redactor.salt, redactor.rules)
        )
        rows = cassette.all("SELECT id, digest, recorded_at FROM exchange WHERE state = 1 ORDER BY recorded_at, id")
        for row in watched(rows, f"exchanges of {cassette.path.name} merged", len(rows), self._watch):
            number, digest, recorded_at = typed(row, int, bytes, int)
            if (digest, recorded_at) in self._seen:
                self._again += 1
                continue
            self._seen.add((digest, recorded_at))
            exchange = cassette.exchange(number)
            if not alike and redactor is not None:
                exchange = without_secrets(exchange, redactor)
            self._exchanges += 1
            key = self._matcher.key(exchange.request)
            self._writer.keep(ExchangePart.of(self._exchanges, exchange))
            if exchange.response.ending is Ending.COMPLETE:
                self._requests[key] = exchange.request.method, exchange.request.path
                answers = self._answers[key].setdefault(_digest_of_answer(exchange.response), [])
                answers.append((str(cassette.path), digest[:4].hex()))
        for row in cassette.all("SELECT reason, exchanges, dropped_at FROM dropped"):
            self._writer.note_dropped(*typed(row, str, int, int))

    def _conflicts(self) -> Iterator[Conflict]:
        """Yield equal requests with different answers on different parts: one server may answer differently twice."""
        for key, answers in self._answers.items():
            sets = [{part for part, _ in ids} for ids in answers.values()]
            if len(answers) > 1 and set().union(*sets) != sets[0].intersection(*sets[1:]):
                yield Conflict(*self._requests[key], tuple(first for first, *_ in answers.values()))

    @staticmethod
    def _provenance(cassette: CassetteReader) -> dict[str, object]:
        meta = cassette.meta
        exchanges = cassette.one("SELECT count(*) FROM exchange WHERE state = 1")[0]
        provenance: dict[str, object] = {"cassette": cassette.path.name, "exchanges": exchanges}
        return provenance | {name: meta[name] for name in ("creator", "merged") if name in meta}


def _digest_of_answer(response: Response) -> bytes:
    """Return a digest of status and body. Ids and times within a body make two answers differ."""
    return hashlib.blake2b(b"%d " % response.status + response.body, digest_size=16).digest()
