"""Write a cassette anew: what merging, joining, redacting, compacting, pruning and migrating have in common.

    read ──▶ map each exchange, or change a copy ──▶ a new file beside the target ──▶ prove ──▶ replace the target

`rewriting` is for one cassette that is changed, `new_cassette` for one that is made of others. Until the block ends
without an error nothing is changed; then the target is replaced in one step. Does not know what is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from replayproxy.cassette import database
from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.editing.replace import fold, replacing
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.server_state import StoredState
from replayproxy.cassette.watched import Watch, unwatched, watched
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.identity.rules import Matcher
from replayproxy.core.server_state import SCRAPED
from replayproxy.errors import CassetteError
from replayproxy.model import Exchange
from replayproxy.ports import ExchangePart

BATCH = 256
"""Exchanges that are written in one transaction."""


def refuse_existing(out: Path | None, other_way: str = "") -> None:
    """Raise `CassetteError` if a file has the name that is to be written. `other_way`: what else the user may do."""
    if out is not None and out.exists():
        ways = f"name another file, remove it, or {other_way}" if other_way else "name another file, or remove it"
        raise CassetteError(f"{out} is there already: {ways}")


@contextmanager
def rewriting(path: Path, out: Path | None = None) -> Iterator[Path]:
    """Give the path of a new file that replaces `path`, or becomes `out`, when the block ends without an error.

    Holds the recorder's lock of `path` meanwhile. Raises `CassetteError` if `out` exists, if `path` is recorded on, or
    if a file cannot be read or written.
    """
    refuse_existing(out)
    fold(path)
    lock = database.Lock(path)
    try:
        with replacing(path if out is None else out) as fresh:
            yield fresh
    finally:
        lock.release()


@contextmanager
def new_cassette(out: Path, matcher: Matcher, watch: Watch = unwatched) -> Iterator[CassetteWriter]:
    """Give the writer of a new file, which is sealed, proved and put in the place of `out` when the block ends.

    Raises `CassetteError` if the file system does not allow it, or if the new file is not what was written.
    """
    with replacing(out) as fresh:
        with sealed_at_end(fresh, matcher) as writer:
            yield writer
        prove(fresh, watch=watch)


@contextmanager
def sealed_at_end(fresh: Path, matcher: Matcher) -> Iterator[CassetteWriter]:
    """Give the writer of a new file, which is sealed when the block ends, and closed as it is after an error."""
    writer = CassetteWriter(fresh, matcher)
    try:
        yield writer
        writer.seal()
    except BaseException:
        writer.close()
        raise


def finished_exchanges(cassette: CassetteReader, watch: Watch = unwatched) -> Iterator[Exchange]:
    """Read every exchange that has ended, in the order in which they were asked. Raises `Damaged`."""
    numbers = cassette.all("SELECT id FROM exchange WHERE state = 1 ORDER BY recorded_at, id")
    for (number,) in watched(numbers, f"exchanges of {cassette.path.name} read", len(numbers), watch):
        yield cassette.exchange(number)


def write_all(writer: CassetteWriter, exchanges: Iterable[Exchange]) -> int:
    """Write the exchanges, some hundred per transaction. Return how many there were."""
    written = 0
    for exchange in exchanges:
        if written % BATCH == 0:
            if written:
                writer.commit()
                writer.train_when_due()
            writer.begin()
        written += 1
        writer.keep(ExchangePart.of(written, exchange))
    if written:
        writer.commit()
    return written


def write_state(writer: CassetteWriter, *cassettes: CassetteReader) -> None:
    """Write what these cassettes have of the state of their servers, in one transaction."""
    writer.begin()
    scraped = [cassette.meta.get(SCRAPED) for cassette in cassettes]
    if urls := list(dict.fromkeys(str(url) for each in scraped if isinstance(each, list) for url in each)):
        writer.note(SCRAPED, urls)
    for cassette in cassettes:
        for state in StoredState(cassette).everything():
            writer.keep_state(state)
    writer.commit()


def prove(fresh: Path, check: Callable[[int], str | None] = lambda _: None, watch: Watch = unwatched) -> int:
    """Read the new file as if another program had written it. Return how many exchanges it has.

    `check` is called with that number and returns what is wrong, or None. Raises `CassetteError` if there is something.
    """
    exchanges, problems = verify(fresh, watch=watch)
    # What the recorded server did against HTTP was so in the old file, and is no fault of the rewriting.
    caused = [problem for problem in problems if not problem.is_recorded]
    what = caused[0].what if caused else check(exchanges)
    if what is not None:
        raise CassetteError(
            f"the new cassette does not hold what it should ({what}), so no file was changed: run `replayproxy verify`"
            " on the old one, and if that finds nothing, please report this"
        )
    return exchanges
