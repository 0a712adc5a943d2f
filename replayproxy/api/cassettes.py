"""A cassette for Python programs: iterate, count, filter by conditions, find by id, add.

    read     Cassette ── CassetteBrowser ──▶ rows; each exchange is unpacked when it is looked at
    add      Cassette ── CassetteAppender ─▶ masked, keyed, written; the next read seals the file and opens it again

A cassette is used by one thread at a time for adding; any number of threads may read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from replayproxy.api.exchange import RecordedExchange, nanoseconds
from replayproxy.errors import CassetteError, NoSuchExchange, SettingsError
from replayproxy.model import Exchange
from replayproxy.views.port import EVERYTHING, ExchangeFilter, Value

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from replayproxy.api.appending import CassetteAppender
    from replayproxy.cassette.browse import CassetteBrowser
    from replayproxy.core.identity.rules import MatchRules

T = TypeVar("T")

Moment = datetime | int
"""A time: a `datetime` with a time zone, or ns since the Unix epoch."""


class Exchanges:
    """The exchanges of a cassette that meet some conditions, by time. Each iteration reads them anew."""

    def __init__(self, cassette: Cassette, chosen: ExchangeFilter) -> None:
        self._cassette = cassette
        self._chosen = chosen

    def __iter__(self) -> Iterator[RecordedExchange]:
        cassette = self._cassette
        for row in cassette.browser.rows(self._chosen):
            yield RecordedExchange(row=row, browser=lambda: cassette.browser)

    def __len__(self) -> int:
        return self._cassette.browser.count(self._chosen)

    def __bool__(self) -> bool:
        return next(self._cassette.browser.rows(self._chosen, limit=1), None) is not None

    def rows(self) -> Iterator[dict[str, Any]]:
        """The columns of each, without unpacking it, by the names of `replayproxy ls --json`."""
        return (dict(row) for row in self._cassette.browser.rows(self._chosen))

    def to_arrow(self, *, bodies: bool = False) -> pa.Table:
        """Those that have ended as a table of Arrow. Raises an error that says what to install without pyarrow.

        The columns are those of `rows` and of `export --to parquet`; with `bodies` also requests and answers.
        """
        from replayproxy.api.frames import arrow_table

        return arrow_table(self._cassette.browser, self._chosen, bodies=bodies)

    def to_dataframe(self, *, bodies: bool = False) -> pd.DataFrame:
        """Those that have ended as a frame of pandas, with the columns of `to_arrow`; pyarrow need not be there."""
        from replayproxy.api.frames import data_frame

        return data_frame(self._cassette.browser, self._chosen, bodies=bodies)

    def __repr__(self) -> str:
        return f"<{len(self)} exchanges of {self._cassette.path}>"


class Cassette:
    """One cassette. Use it as a context manager, or `close` it."""

    def __init__(self, path: str | PathLike[str]) -> None:
        """Open an existing cassette; `Cassette.open` is the same. Raises `CassetteError`."""
        self.path = Path(path)
        self._browser: CassetteBrowser | None = None
        self._appender: CassetteAppender | None = None
        self._is_closed = False
        self.browser  # noqa: B018  raises here, and not at the first use, if it cannot be read

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Self:
        """Open an existing cassette. Raises `NotACassette`, `NewerFormat`, `Damaged` or another `CassetteError`."""
        return cls(path)

    @classmethod
    def create(cls, path: str | PathLike[str], *, rules: MatchRules | None = None, redact: Iterable[str] = ()) -> Self:
        """Make an empty cassette and open it. Raises `CassetteError` where a file has that name already.

        `rules`: which requests are equal; the default ones if None. `redact`: what is secret besides credentials and
        well-known keys, as with `--redact`.
        """
        from replayproxy.api.appending import create

        create(Path(path), rules, tuple(redact))
        return cls(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Seal what was added, and close the file."""
        self._is_closed = True
        try:
            self._end_adding()
        finally:
            if self._browser is not None:
                self._browser.cassette.close()

    @property
    def browser(self) -> CassetteBrowser:
        """The reader of this cassette. What was added is sealed first."""
        from replayproxy.cassette.browse import CassetteBrowser

        if self._is_closed:
            raise CassetteError(f"{self.path} has been closed: open it again")
        self._end_adding()
        if self._browser is None:
            self._browser = CassetteBrowser.open(self.path)
        return self._browser

    # Reading

    def __iter__(self) -> Iterator[RecordedExchange]:
        return iter(Exchanges(self, EVERYTHING))

    def __len__(self) -> int:
        return self.browser.count()

    def __bool__(self) -> bool:
        return True  # an empty cassette is a cassette

    def filter(
        self,
        *,
        model: str | None = None,
        endpoint: str | None = None,
        status: int | None = None,
        where: str | None = None,
        values: Mapping[str, Value] | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
    ) -> Exchanges:
        """The exchanges that meet all conditions, by time.

        `endpoint` is a path, or a method and a path: `"GET /v1/models"`. `where` is an SQL condition on the columns of
        `replayproxy ls --json`, with `values` for its `:name`s: `filter(where="ttft_s > :x", values={"x": 0.5})`.
        `since` is included, `until` is not. Raises `SettingsError` for SQL that cannot be run.
        """
        bound = tuple((values or {}).items())
        if bound and where is None:
            raise SettingsError(f"values are for the names in where, such as where='status = :{bound[0][0]}'")
        chosen = ExchangeFilter(where, bound, _ns(since), _ns(until), model, endpoint, status)
        self.browser.check(chosen)
        return Exchanges(self, chosen)

    def __getitem__(self, id: str) -> RecordedExchange:
        """The exchange whose id begins so. Raises `NoSuchExchange` (a `LookupError`) where none does, or several do."""
        from replayproxy.views.exchange_id import resolve

        browser = self.browser
        try:
            row = browser.row(resolve(browser, id))
        except SettingsError as error:
            raise NoSuchExchange(str(error)) from None
        return RecordedExchange(row=row, browser=lambda: self.browser)

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self.get(id) is not None

    @overload
    def get(self, id: str) -> RecordedExchange | None: ...
    @overload
    def get(self, id: str, default: T) -> RecordedExchange | T: ...
    def get(self, id: str, default: Any = None) -> Any:
        """Return the exchange whose id begins so, or `default` if there is not exactly one."""
        try:
            return self[id]
        except NoSuchExchange:
            return default

    def to_arrow(self, *, bodies: bool = False) -> pa.Table:
        """All exchanges that have ended as a table of Arrow; see `Exchanges.to_arrow`."""
        return Exchanges(self, EVERYTHING).to_arrow(bodies=bodies)

    def to_dataframe(self, *, bodies: bool = False) -> pd.DataFrame:
        """All exchanges that have ended as a frame of pandas; see `Exchanges.to_dataframe`."""
        return Exchanges(self, EVERYTHING).to_dataframe(bodies=bodies)

    # Adding

    def add(self, exchange: RecordedExchange | Exchange) -> None:
        """Add an exchange: one of another cassette, or one made by `Exchange.of`. Secrets in it are masked.

        Raises `Locked` while another process records on this cassette, `OlderFormat`, or another `CassetteError`.
        """
        from replayproxy.api.appending import CassetteAppender

        value = exchange.value if isinstance(exchange, RecordedExchange) else exchange
        if self._is_closed:
            raise CassetteError(f"{self.path} has been closed: open it again")
        if self._appender is None:
            if self._browser is not None:  # a reader would keep the file from being sealed
                self._browser.cassette.close()
                self._browser = None
            self._appender = CassetteAppender(self.path)
        self._appender.add(value)

    def extend(self, exchanges: Iterable[RecordedExchange | Exchange]) -> None:
        """Add several, in their order."""
        for exchange in exchanges:
            self.add(exchange)

    def _end_adding(self) -> None:
        appender, self._appender = self._appender, None
        if appender is not None:
            appender.seal()

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "adding" if self._appender is not None else "open"
        return f"<Cassette {self.path} {state}>"


def _ns(moment: Moment | None) -> int | None:
    return nanoseconds(moment) if isinstance(moment, datetime) else moment
