"""What a format is: how it is read, how it is written, and what of a recording it keeps.

export   StoredExchange, … ──▶ Writer ──▶ bytes           what cannot be written is counted in `Notes`
import   SourceFile ──▶ Reader ──▶ ImportedExchange, …    each says what its times are worth (`Beat`)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from replayproxy.errors import ReplayProxyError
from replayproxy.formats.source import SourceFile
from replayproxy.model import Exchange
from replayproxy.views.port import ExchangeRow


class Beat(StrEnum):
    """What the times of an imported answer are worth."""

    CHUNKS = "chunks"
    """When each chunk came."""
    EVENTS = "events"
    """When each event came; where the chunks ended is lost."""
    ENDS = "ends"
    """When the answer began and ended."""
    NONE = "none"
    """Nothing: all times are 0."""


class Part(StrEnum):
    """What a format may keep of an exchange; `docs/formats.md` has a column for each."""

    TIMES = "chunk times"
    BYTES = "body bytes"
    REQUEST = "request"
    HEADERS = "header fields"
    ARRIVAL = "arrival"
    SESSION = "session"
    TOKENS = "token ids"


class Kept(StrEnum):
    """How much of a part a format keeps."""

    YES = "yes"
    PARTLY = "partly"
    NO = "no"


class StoredExchange(NamedTuple):
    """An exchange of a cassette: its row, and itself."""

    row: ExchangeRow
    exchange: Exchange


class ImportedExchange(NamedTuple):
    """An exchange of another program's file, and what its times are worth."""

    exchange: Exchange
    beat: Beat


@dataclass(slots=True)
class Notes:
    """What a reader or a writer has to say: what it left out or had to estimate, how often and why."""

    skipped: Counter[str] = field(default_factory=Counter)
    """Whole exchanges that are left out, by reason."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Parts of exchanges that are left out."""
    estimated: Counter[str] = field(default_factory=Counter)

    @property
    def has_losses(self) -> bool:
        """Whether something was left out or estimated that the format could hold."""
        return bool(self.skipped or self.left_out or self.estimated)


@dataclass(frozen=True, slots=True)
class CassetteOrigin:
    """The rules and the provenance of a cassette, which only our own formats keep.

    `match` and `redaction` are what its table `meta` has under these names, `meta` the rest of it. `dropped` are the
    exchanges that were not recorded: the reason, how many, and when (ns since the Unix epoch).
    """

    match: Mapping[str, Any] | None = None
    redaction: Mapping[str, Any] | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    dropped: Sequence[tuple[str, int, int]] = ()


@dataclass(frozen=True, slots=True)
class ExportContext:
    """What a writer may want to know besides the exchanges. `base_url` is where commands send their requests."""

    name: str
    version: str
    origin: CassetteOrigin = field(default_factory=CassetteOrigin)
    base_url: str = "http://127.0.0.1:8000"
    with_bodies: bool = True
    notes: Notes = field(default_factory=Notes)


Writer = Callable[[Iterable[StoredExchange], BinaryIO, ExportContext], None]
Reader = Callable[[SourceFile, Notes], Iterator[ImportedExchange]]


@dataclass(frozen=True, slots=True)
class Format:
    """One format. A reader raises `UnreadableSource` for a file that is not in its format.

    `keeps` lists the parts that survive, wholly or partly; all others are lost. `loses` says in words what else is
    lost or changed. `recognises` tells by the beginning of a file whether it is in this format. `origin` reads the
    rules of the cassette that a file was exported from. `extra` names the extra of this package that it needs.
    """

    name: str
    title: str
    keeps: Mapping[Part, Kept]
    loses: str
    suffix: str
    write: Writer | None = None
    read: Reader | None = None
    recognises: Callable[[SourceFile], bool] | None = None
    origin: Callable[[SourceFile], CassetteOrigin] | None = None
    takes_folder: Callable[[Path], bool] | None = None
    extra: str | None = None
    is_binary: bool = False
    is_to_be_shown: bool = False
    """Whether it is made to be given to others: then nothing is written of a cassette that holds a secret."""
    is_own: bool = False
    """Whether it holds what a recorder stores, already chosen: all header fields are taken over."""

    def kept(self, part: Part) -> Kept:
        """How much of a part survives."""
        return self.keeps.get(part, Kept.NO)

    def lost(self) -> tuple[str, ...]:
        """The names of the parts of which nothing survives."""
        return tuple(part.value for part in Part if self.kept(part) is Kept.NO)


class MissingExtra(ReplayProxyError):
    """A library that a format needs is not installed."""


def missing_extra(format_name: str, library: str, extra: str) -> MissingExtra:
    """The error that says how to install a library."""
    return MissingExtra(
        f"the format {format_name} needs {library}, which is not installed: pip install 'replayproxy[{extra}]'"
    )
