"""Tests of `views/exchange`: one exchange, and the same as data; its page is tested in tests/cli/terminal."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.views.exchange import CHUNK_FIELDS, ExchangeView, as_data, chunk_rows
from tests.cli.tapes import answer, asked, chat, pair, writing


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[CassetteBrowser]:
    """A stream, a body that is not text, a pair."""
    path = tmp_path / "three.cassette"
    with writing(path) as keep:
        keep(chat("hello"), answer(asked("bytes"), b"\xff\x00"), pair(chat("pair")))
    with CassetteBrowser.open(path) as opened:
        yield opened


def test_everything_is_read_once(browser: CassetteBrowser) -> None:
    """The row, the exchange, its rules, how often it replays, what it takes on disk."""
    it = ExchangeView.of(browser, 1)
    assert (it.path, it.row["number"], it.playable) == (str(browser.path), 1, 1)
    assert it.response == it.exchange.response == browser.response(1)
    assert it.rules == browser.rules
    assert it.stored == browser.stored_sizes(1)


def test_a_chunk_is_a_row(browser: CassetteBrowser) -> None:
    """When, how long after the one before, how large, which text."""
    rows = list(chunk_rows(ExchangeView.of(browser, 1)))
    assert [tuple(row) for row in rows] == [CHUNK_FIELDS] * 4
    assert [(row["chunk"], row["at_s"], row["gap_s"], row["text"]) for row in rows] == [
        (1, 0.1, None, "Hi"),
        (2, 0.12, 0.02, " there"),
        (3, 0.14, 0.02, "!"),
        (4, 0.141, 0.001, None),
    ]
    assert sum(row["bytes"] for row in rows) == len(browser.response(1).body)


def test_an_exchange_as_data(browser: CassetteBrowser) -> None:
    """The columns of its row, and the bodies: text, or base64 where they are none; legs as the whole."""
    streamed, binary, both = (as_data(ExchangeView.of(browser, number)) for number in (1, 2, 3))
    assert {**browser.row(1), "legs": []}.items() <= streamed.items()
    assert (streamed["text"], streamed["playable"]) == (["Hi there!"], 1)
    assert [chunk["at_s"] for chunk in streamed["response"]["chunks"]] == [0.1, 0.12, 0.14, 0.141]
    assert binary["response"]["body_base64"] == b64encode(b"\xff\x00").decode()
    assert [leg["role"] for leg in both["legs"]] == ["prefill", "decode"]
    assert both["legs"][0]["response"]["ending"] == "complete"
