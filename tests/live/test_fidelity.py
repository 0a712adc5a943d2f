"""What vLLM said through the recorder, the replayer says again when vLLM is gone: 100 % the same, row by row."""

from __future__ import annotations

import asyncio

import pytest

from replayproxy.cassette.reader import CassetteReader
from replayproxy.core import headers
from replayproxy.model import Ending
from tests.live.matrix import ROWS, Recorded, asked
from tests.live.server import RealVllm
from tests.processes import replaying, replayproxy
from tests.wire import Answer


@pytest.fixture(scope="session")
def replayed(recorded: Recorded, after_vllm: RealVllm) -> dict[str, Answer]:
    """The same rows, asked of a replayer that was told of no upstream."""
    with replaying(recorded.cassette) as proxy:
        answers = asyncio.run(asked(proxy.url))
    assert proxy.code == 0, proxy.said
    return answers


@pytest.mark.parametrize("row", ROWS)
def test_a_recorder_lets_vllm_answer(row: str, recorded: Recorded) -> None:
    """Each row gets a whole answer with the status that vLLM gives such a request."""
    answer = recorded.answers[row]
    assert (answer.status, answer.whole) == (ROWS[row][0], True), answer.body
    streamed = row.endswith("streamed") and answer.status == 200
    assert (answer.framing == "chunked") == (streamed or "usage" in row)


@pytest.mark.parametrize("row", ROWS)
def test_a_replay_cannot_be_told_from_vllm(row: str, recorded: Recorded, replayed: dict[str, Answer]) -> None:
    """The same status line, the same allow-listed headers in their order, the same bytes in the same HTTP chunks."""
    first, again = recorded.answers[row], replayed[row]
    assert (again.status, again.head.reason) == (first.status, first.head.reason)
    assert headers.end_to_end(again.headers) == headers.STORED.of_answer(first.headers)
    assert again.body == first.body
    assert (again.framing, again.cuts, again.whole) == (first.framing, first.cuts, True)


def test_every_row_is_on_the_cassette_once(recorded: Recorded) -> None:
    """One exchange a row, each complete, and `verify` finds nothing to say about any."""
    with CassetteReader(recorded.cassette) as cassette:
        rows = list(cassette.rows())
        kept = [cassette.exchange(row["number"]) for row in rows]
    assert len(kept) == len(ROWS)
    assert {exchange.response.ending for exchange in kept} == {Ending.COMPLETE}
    assert {row["occurrence"] for row in rows} == {0}
    verified = replayproxy("verify", recorded.cassette)
    assert verified.returncode == 0, verified.stderr
