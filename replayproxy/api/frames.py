"""The exchanges of a cassette as a table for pandas or Arrow: the columns of `ls --json`, and the times of the chunks.

The libraries are optional and loaded when they are used. The columns are those of `export --to parquet`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.formats.format import MissingExtra, StoredExchange
from replayproxy.formats.parquet import table_of, values_of
from replayproxy.views.port import ExchangeFilter

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def arrow_table(browser: CassetteBrowser, chosen: ExchangeFilter, *, bodies: bool) -> pa.Table:
    """Finished exchanges as a table of Arrow. Raises `MissingExtra` without pyarrow."""
    return table_of(_finished(browser, chosen), with_bodies=bodies)


def data_frame(browser: CassetteBrowser, chosen: ExchangeFilter, *, bodies: bool) -> pd.DataFrame:
    """Finished exchanges as a frame of pandas, through pyarrow if that is there. Raises `MissingExtra`."""
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise MissingExtra("a data frame needs pandas, which is not installed: pip install pandas") from error
    try:
        return arrow_table(browser, chosen, bodies=bodies).to_pandas()
    except MissingExtra:
        rows = [values_of(stored, with_bodies=bodies) for stored in _finished(browser, chosen)]
        frame = pd.DataFrame.from_records(rows)
        if rows:
            frame["recorded_at"] = pd.to_datetime(frame["recorded_at"], unit="us", utc=True)
        return frame


def _finished(browser: CassetteBrowser, chosen: ExchangeFilter) -> Iterator[StoredExchange]:
    for row in browser.rows(replace(chosen, finished=True)):
        yield StoredExchange(row, browser.exchange(row["number"]))
