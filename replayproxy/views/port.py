"""What views ask of a cassette: the protocol `Browser`, the values that choose exchanges, and the values that it gives.

    ExchangeFilter, RowOrder ──▶ Browser ──▶ ExchangeRow, MeasuredRow, CassetteSummary, Exchange

Nothing here knows how a cassette stores them; `cassette/browse` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypedDict

from replayproxy.model import Exchange, Key, Request, Response, Timeline

if TYPE_CHECKING:  # `ls` reads rows without them
    from replayproxy.core.identity.rules import MatchRules
    from replayproxy.core.server_facts import ServerFacts

Value = str | int | float | bytes | None
"""What SQLite can bind."""


class ExchangeRow(TypedDict):
    """One row of the view `v_exchange`: what is known of an exchange without unpacking it. Times are in seconds."""

    number: int
    id: str
    key: Key
    occurrence: int | None
    recorded_at: str
    method: str
    path: str
    model: str | None
    stream: int
    status: int
    state: str
    ending: str | None
    client_left: int
    request_cut: int
    opaque: int
    scope: str
    request_size: int
    response_size: int
    chunks: int
    ttft_s: float | None
    total_s: float | None
    tpot_s: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    finish: str | None
    stalled: int
    starved_s: float
    transfer: str | None
    legs: int


class MeasuredRow(TypedDict):
    """What statistics need of one exchange. Times are in seconds, but `at`: ns since the Unix epoch."""

    number: int
    model: str | None
    method: str
    path: str
    stream: int
    status: int
    state: str
    ending: str | None
    ttft_s: float | None
    tpot_s: float | None
    total_s: float
    chunks: int
    starved_s: float
    output_tokens: int | None
    at: int
    prefill_s: float | None
    """Of a pair: how long the prefill server took."""
    handover_s: float | None
    """Of a pair: from the end of the prefill to the request to decode."""
    decode_ttft_s: float | None
    """Of a pair: TTFT, counted from the request to decode."""
    measured: int
    """1 where the answer ended complete with a status from 200 to 399."""


class AnswerKind(NamedTuple):
    """What many exchanges share: what statistics count and group them by."""

    method: str
    path: str
    model: str | None
    stream: bool
    status: int
    is_done: bool
    ending: str | None

    @property
    def is_measured(self) -> bool:
        """Whether the answer ended complete with a status from 200 to 399."""
        return self.is_done and self.ending == "complete" and 200 <= self.status <= 399


@dataclass(frozen=True, slots=True)
class AnswerColumns:
    """Some thousand exchanges as columns of equal length. Times are in us, but TPOT, which is in ns.

    A million rows as dictionaries take 15 s; as columns they take less than one. `kinds` has the kinds of all codes.
    """

    kinds: Mapping[int, AnswerKind]
    codes: list[int]
    """By exchange, which kind it is of."""
    at_us: list[int]
    """When the request was complete, since the Unix epoch."""
    is_measured: bool = False
    """Whether these are answers that ended well; only then the following columns are there."""
    numbers: Sequence[int] = ()
    ttft_us: Sequence[int | None] = ()
    total_us: Sequence[int] = ()
    tpot_ns: Sequence[int | None] = ()
    output_tokens: Sequence[int | None] = ()
    starved: Sequence[tuple[int, int, int]] = ()
    """Of answers whose gaps a late recorder has spoilt: code, time as `at_us`, and the delay in us."""


class LegRow(TypedDict):
    """One leg of a prefill/decode pair. Times are in seconds since the client's request was complete."""

    exchange: int
    leg: int
    role: str
    upstream: str
    method: str
    path: str
    status: int
    ending: str | None
    started_s: float
    head_s: float
    """From the start of the leg to the head of its answer."""
    total_s: float
    """From the start of the leg to the end of its answer."""
    at: int
    """When the client's request was complete, in ns since the Unix epoch."""


# Which exchanges, and in which order


@dataclass(frozen=True, slots=True)
class ExchangeFilter:
    """Conditions that an exchange must meet, all of them; None stands for any.

    `where` is an SQL condition on the columns of `ExchangeRow`, with `values` for its `:name`s. `since` (included) and
    `until` (excluded) are ns since the Unix epoch. `endpoint` is a path, or a method and a path: `GET /v1/models`.
    """

    where: str | None = None
    values: tuple[tuple[str, Value], ...] = ()
    since: int | None = None
    until: int | None = None
    model: str | None = None
    endpoint: str | None = None
    status: int | None = None
    finished: bool = False
    """Only exchanges whose answer is over."""

    @property
    def is_everything(self) -> bool:
        """Whether every exchange meets it."""
        return self == ExchangeFilter()


EVERYTHING = ExchangeFilter()


@dataclass(frozen=True, slots=True)
class RowOrder:
    """The column by which rows are sorted. Rows without a value come last."""

    field: str
    descending: bool = False


# What a cassette is


@dataclass(frozen=True, slots=True)
class StoredSizes:
    """The bytes that one exchange takes on disk."""

    request: int
    answer: int
    times: int


@dataclass(frozen=True, slots=True)
class ExchangeId:
    """An exchange's number, and its whole id: 16 hex digits or more, of which people type a prefix."""

    number: int
    digest: str


@dataclass(frozen=True, slots=True)
class DictionarySize:
    """One trained dictionary of a cassette."""

    id: int
    kind: str
    bytes: int


@dataclass(frozen=True, slots=True)
class FileSizes:
    """Bytes: what was recorded (`request_bodies`, `response_bodies`), the file, and what takes how much of the file."""

    request_bodies: int
    response_bodies: int
    file: int
    requests: int
    answers: int
    times: int
    legs: int
    in_flight: int
    dictionaries: int
    rows_and_free_space: int


@dataclass(frozen=True, slots=True)
class StreamEnds:
    """Whether complete streams have the event that ends them. Looked at are the newest, for they must be unpacked."""

    streams: int
    """Complete streams in the cassette."""
    checked: int
    """How many of them were looked at."""
    missing: Mapping[str, int]
    """How many lack which event, by its name."""


@dataclass(frozen=True, slots=True)
class CassetteSummary:
    """What a cassette is and holds. Unpacks nothing but the newest streams (`stream_ends`)."""

    path: Path
    format: int
    meta: Mapping[str, str]
    """By name, as JSON texts; without the match rules and the redaction, which have fields of their own."""
    is_sealed: bool
    rules: MatchRules
    redaction_rules: tuple[str, ...] | None
    """None: recorded before secrets were masked."""
    exchanges: int
    first_recorded_at: int | None
    """ns since the Unix epoch, as the next one."""
    last_recorded_at: int | None
    endings: Mapping[str, int]
    statuses: Mapping[str, int]
    models: Mapping[str, int]
    endpoints: Mapping[str, int]
    opaque: int
    """Exchanges with a body in a coding that cannot be undone."""
    stream_ends: StreamEnds
    sizes: FileSizes
    dictionaries: Sequence[DictionarySize]
    starved_answers: int
    """Answers whose gaps a late recorder has spoilt, and by how much at most, in seconds."""
    longest_starved_s: float
    dropped: Mapping[str, int]
    """Exchanges that were not recorded, by reason."""
    left_out: Mapping[str, int]
    """Names of header fields that were not stored, and in how many answers."""
    server: ServerFacts
    """What the recorded server answered about itself."""
    server_state: Mapping[str, int]
    """How often the recorded server's state was kept beside the answers: `metrics URL`, `kv_events ENDPOINT`."""
    foreign: Sequence[tuple[str, str]]
    """Kind and name of what others have added to the file."""


class Browser(Protocol):
    """Answers questions about one cassette. Raises `CassetteError`, which is `Damaged` where the file was changed."""

    @property
    def path(self) -> Path:
        """Where the cassette is."""
        ...

    @property
    def rules(self) -> MatchRules:
        """The match rules that its keys were made by."""
        ...

    def columns(self) -> Sequence[str]:
        """The names of the fields of a row, in their order."""
        ...

    def rows(
        self, chosen: ExchangeFilter = EVERYTHING, order: RowOrder | None = None, limit: int | None = None
    ) -> Iterator[ExchangeRow]:
        """The exchanges that meet a filter, by time or by `order`. Raises `SettingsError` for SQL that cannot run."""
        ...

    def newest_rows(self, chosen: ExchangeFilter, limit: int) -> Iterator[ExchangeRow]:
        """At most `limit` exchanges, those that ended last first. Costs the same on a cassette of any size."""
        ...

    def count(self, chosen: ExchangeFilter = EVERYTHING) -> int:
        """How many exchanges meet a filter."""
        ...

    def row(self, number: int) -> ExchangeRow:
        """The row of one exchange."""
        ...

    def exchange(self, number: int) -> Exchange:
        """One exchange, unpacked and checked by its digest."""
        ...

    def request(self, number: int) -> Request:
        """The request of one exchange, unpacked; its answer is not."""
        ...

    def response(self, number: int) -> Response:
        """The answer of one exchange, unpacked and checked by its digest."""
        ...

    def playable(self, key: Key) -> int:
        """How many recordings replay to requests with this key."""
        ...

    def stored_sizes(self, number: int) -> StoredSizes:
        """What one exchange takes on disk."""
        ...

    def timelines(self, numbers: Sequence[int]) -> Iterator[tuple[int, Timeline]]:
        """The times of finished exchanges. Unpacks no bodies."""
        ...

    def measured_rows(self, chosen: ExchangeFilter = EVERYTHING) -> Iterator[MeasuredRow]:
        """What statistics need of each exchange that meets a filter, in no stated order."""
        ...

    def answer_columns(self, chosen: ExchangeFilter = EVERYTHING) -> Iterator[AnswerColumns]:
        """What statistics need of all exchanges that meet a filter, as columns of some thousand of them."""
        ...

    def leg_rows(self, chosen: ExchangeFilter = EVERYTHING) -> Iterator[LegRow]:
        """The legs of the exchanges that meet a filter, in the order of their numbers."""
        ...

    def newest(self) -> int | None:
        """The number of the finished exchange that ended last."""
        ...

    def newest_ids(self, limit: int) -> Sequence[ExchangeId]:
        """The ids of at most so many exchanges, the newest first."""
        ...

    def find(self, prefix: str) -> Sequence[ExchangeId]:
        """At most nine exchanges whose id begins with `prefix`."""
        ...

    def count_ids(self, prefix: str) -> int:
        """How many exchanges have an id that begins with `prefix`."""
        ...

    def summary(self) -> CassetteSummary:
        """What the cassette is and holds."""
        ...
