"""Whatever a stream looks like and whenever its client leaves: the live verdict is the verdict on the whole.

`python -m tests.bench.endings 100000` tries as many as are wanted.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.ending_verdicts import disagreement

COUNT = 400
"""Here; 100 000 take minutes."""


@pytest.mark.parametrize("start", range(0, COUNT, 100))
def test_the_live_verdict_is_the_verdict_on_the_whole(start: int) -> None:
    """Of the recorder, of the connection where closing is the end, of what is stored, and of an oracle."""

    async def found() -> list[str]:
        return [said for seed in range(start, start + 100) if (said := await disagreement(seed)) is not None]

    assert asyncio.run(found()) == []
