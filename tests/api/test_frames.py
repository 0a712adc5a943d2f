"""Tables for pandas and Arrow: the rows and columns of a cassette, with and without the optional libraries."""

from __future__ import annotations

import sys

import pytest

from replayproxy.api.cassettes import Cassette
from replayproxy.formats.format import MissingExtra
from tests.docs.pages import ROOT

GOLDEN = ROOT / "cassettes" / "format-2.cassette"


def test_a_table_has_the_rows_and_the_times() -> None:
    """Sums are those of the cassette."""
    with Cassette.open(GOLDEN) as cassette:
        table = cassette.to_arrow()
        rows = list(cassette.filter().rows())
    assert table.num_rows == len(rows)
    assert table["id"].to_pylist() == [row["id"] for row in rows]
    assert sum(map(len, table["chunk_at_ns"].to_pylist())) == sum(row["chunks"] for row in rows)
    assert "response_body" not in table.column_names


def test_a_frame_of_chosen_exchanges() -> None:
    """With times in UTC, and bodies where they are asked for."""
    with Cassette.open(GOLDEN) as cassette:
        frame = cassette.filter(status=200, where="stream = 1").to_dataframe(bodies=True)
        chosen = list(cassette.filter(status=200, where="stream = 1"))
        bodies = [each.response.body for each in chosen]
    assert len(frame) == len(chosen) > 10
    assert frame["ttft_s"].sum() == pytest.approx(sum(each.row["ttft_s"] for each in chosen))
    assert str(frame["recorded_at"].dtype).endswith("UTC]")
    assert [bytes(body) for body in frame["response_body"]] == bodies


def test_pandas_alone_gives_the_same_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyarrow."""
    with Cassette.open(GOLDEN) as cassette:
        through_arrow = cassette.to_dataframe()
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        alone = cassette.to_dataframe()
    assert list(alone.columns) == list(through_arrow.columns)
    assert list(alone["id"]) == list(through_arrow["id"])
    assert list(alone["recorded_at"]) == list(through_arrow["recorded_at"])


def test_without_the_libraries_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each names its command."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with Cassette.open(GOLDEN) as cassette:
        with pytest.raises(MissingExtra, match="pip install pandas"):
            cassette.to_dataframe()
        with pytest.raises(MissingExtra, match=r"pip install 'replayproxy\[parquet\]'"):
            cassette.to_arrow()
