"""Tests of `cassette/writing_queue`: how long a batch is gathered, the longer, the more is recorded; bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from replayproxy.cassette import writing_queue as module
from replayproxy.cassette.writing_queue import BUSY_PARTS
from tests.cassette.test_writer_thread import Gate, chats, offer, run, studio
from tests.doubles.fakes import SECOND
from tests.recordings import MATCHER


@pytest.mark.parametrize(("waiting", "batches"), [(BUSY_PARTS - 1, 2), (BUSY_PARTS, 1), (BUSY_PARTS + 1, 1)])
def test_while_much_is_recorded_batches_are_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waiting: int, batches: int
) -> None:
    """Here for a quarter of an hour, unless somebody waits: a transaction costs the same for one part and for many."""
    monkeypatch.setattr(module, "BATCH_NANOSECONDS", SECOND // 1000)
    monkeypatch.setattr(module, "BUSY_BATCH_NANOSECONDS", 900 * SECOND)
    (item,) = chats(1)

    async def story() -> None:
        async with studio(tmp_path) as here:
            gate = here.keeper.before = Gate("commit")
            offer(here.writer, [item])
            await here.writer.settled("rp1:none")
            await gate.reached()
            offer(here.writer, [item] * (waiting + 1), first=10)  # the thread takes the first of them, and then looks
            if batches == 2:
                gate.open()
                gate = here.keeper.before = Gate("commit")
                await gate.reached()
            gate.open()
            offer(here.writer, [item], first=1000)
            await here.writer.settled(MATCHER.key(item.request))
            commits = "".join(
                "|" if step == "commit" else "." for step in here.keeper.log if step in ("keep", "commit")
            )
        sizes = [len(batch) for batch in commits.split("|") if batch]
        assert sizes == ([1, waiting + 1, 1] if batches == 2 else [1, waiting + 2])

    run(story())


def test_a_full_queue_is_one_that_is_half_full() -> None:
    """What is in flight must find room while those who can wait do so."""
    queue = module.WritingQueue(limit=100)
    sizes = []
    for size in (49, 1, 50):
        queue.put(module.Drop(1, size))
        sizes.append((queue.queued_bytes, queue.is_full, queue.has_room_for(50)))
    assert sizes == [(49, False, True), (50, True, True), (100, True, False)]


def test_a_batch_ends_behind_an_order_for_which_somebody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after it would make them wait; and what was taken no longer counts as waiting."""
    monkeypatch.setattr(module, "BATCH_NANOSECONDS", 900 * SECOND)
    queue = module.WritingQueue(limit=100)
    stop = module.Stop()
    for order in (module.Drop(1, 10), stop, module.Drop(2, 20)):
        queue.put(order)
    batch = queue.next_batch()
    assert batch == [module.Drop(1, 10), stop]
    queue.give_back(batch)
    assert queue.queued_bytes == 20
