"""The state of the server on a cassette: kept exactly, small, masked, bounded, and carried along by every rewrite."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgpack
import pytest

from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.cassette.checking.secrets import scan
from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.editing.compact import compact
from replayproxy.cassette.editing.merge import merge
from replayproxy.cassette.editing.redact import redact
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.server_state import PAGES_PER_BASE, StoredState
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.cassette.writer_thread import WriterThread
from replayproxy.core.server_state import KvMessage, KvMessages, ScrapedPage, ServerState
from replayproxy.errors import CassetteError, Damaged
from replayproxy.net.clock import SystemClock
from tests.cli.tapes import chat, writing
from tests.recordings import MATCHER

URL, ENDPOINT = "http://127.0.0.1:8000", "tcp://127.0.0.1:5557"
NAMES = [f'vllm:metric_{number}{{engine="0",model_name="tiny"}}' for number in range(400)]


def page(at: int, *, extra: str = "", server: str = URL) -> ScrapedPage:
    """One of 20 KB, in which every tenth value changes."""
    lines = [f"{name} {at if number % 10 == 0 else number}.0" for number, name in enumerate(NAMES)]
    return ScrapedPage(server, at, "\n".join([*lines, extra, ""]).encode())


def messages(at: int, *numbers: int, server: str = ENDPOINT, payload: bytes = b"\x93\xcb") -> KvMessages:
    """So many messages, 10 ns apart."""
    parts = [
        KvMessage(at + 10 * place, b"kv@pod", number.to_bytes(8, "big"), payload + bytes([number]))
        for place, number in enumerate(numbers)
    ]
    return KvMessages(server, parts)


def cassette(path: Path, *states: ServerState) -> Path:
    """One with a chat and these states."""
    with writing(path) as keep:
        keep(chat())
    keeping(path, *states)
    return path


def keeping(path: Path, *states: ServerState) -> None:
    """Record these on it too."""
    writer = CassetteWriter(path, MATCHER)
    writer.begin()
    for state in states:
        writer.keep_state(state)
    writer.commit()
    writer.seal()


@contextmanager
def stored(path: Path) -> Iterator[StoredState]:
    """What it has."""
    with CassetteReader(path) as reader:
        yield StoredState(reader)


def everything(path: Path) -> list[ServerState]:
    """All of it."""
    with stored(path) as state:
        return list(state.everything())


def change(path: Path, sql: str) -> None:
    """Do this to the file."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(sql)
        connection.commit()


def test_everything_comes_back_byte_for_byte_over_several_bases(tmp_path: Path) -> None:
    """A page is compressed against an earlier one, and every sixtieth stands alone."""
    pages = [page(at) for at in range(1, 2 * PAGES_PER_BASE + 5)]
    events = [messages(50, 0, 1, 2), messages(90, 3)]
    path = cassette(tmp_path / "a.cassette", *pages, *events)
    assert everything(path) == [*events, *pages]
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT base, length(content) FROM server_state WHERE kind = 'metrics'").fetchall()
    assert sum(base is None for base, _ in rows) == 3
    assert sum(size for _, size in rows) < sum(len(one.text) for one in pages) / 30
    assert verify(path) == (1, [])


def test_a_moment_has_the_last_page_before_it(tmp_path: Path) -> None:
    """Before the first page it is that one; after the last one it stays; each server has its own."""
    other = page(15, server="http://127.0.0.1:8001")
    path = cassette(tmp_path / "a.cassette", page(10), page(20), other)
    with stored(path) as state:
        found = [state.page_at(URL, moment) for moment in (0, 10, 19, 20, 10**18)]
        assert found == [page(at).text for at in (10, 10, 10, 20, 20)]
        assert state.page_at(other.server, 0) == other.text
        assert state.page_at("http://nobody", 0) is None


def test_messages_are_read_in_parts_by_their_time(tmp_path: Path) -> None:
    """Of all publishers together."""
    parts = [messages(10, 0), messages(20, 0, server="tcp://b:1"), messages(20, 1), messages(30, 2)]
    path = cassette(tmp_path / "a.cassette", *parts)
    with stored(path) as state:
        assert state.messages_from(-1, "", 3) == [parts[0], parts[2], parts[1]]
        assert state.messages_from(20, "tcp://b:1", 3) == [parts[3]]


def test_a_cassette_without_it_has_no_table(tmp_path: Path) -> None:
    """And answers that it has nothing."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(chat())
    with stored(path) as state:
        assert (state.is_there, state.page_at(URL, 0), state.messages_from(-1, "", 9)) == (False, None, [])
        assert (list(state.everything()), state.counts()) == ([], {})


def test_the_table_is_ours_and_info_counts_its_rows(tmp_path: Path) -> None:
    """It is no stranger's."""
    path = cassette(tmp_path / "a.cassette", page(1), page(2), messages(1, 0))
    with CassetteBrowser.open(path) as browser:
        summary = browser.summary()
    assert summary.foreign == ()
    assert summary.server_state == {f"kv_events {ENDPOINT}": 1, f"metrics {URL}": 2}


def test_a_rolled_back_page_is_no_base(tmp_path: Path) -> None:
    """The next one stands alone, and the table is made again."""
    path = tmp_path / "a.cassette"
    writer = CassetteWriter(path, MATCHER)
    writer.begin()
    writer.keep_state(page(1))
    writer.rollback()
    writer.begin()
    writer.keep_state(page(2))
    writer.commit()
    writer.seal()
    assert everything(path) == [page(2)]


def test_secrets_are_masked_at_equal_length(tmp_path: Path) -> None:
    """In labels and in events, so that what is binary stays readable."""
    key = "sk-proj-" + "a1B2c3D4" * 5
    with_key = page(1, extra=f'vllm:info{{lora="{key}"}} 1.0')
    adapter = msgpack.packb([1.0, [{"type": "BlockStored", "lora_name": key, "token_ids": [7] * 4}], 0])
    path = cassette(tmp_path / "a.cassette", with_key, KvMessages(ENDPOINT, [KvMessage(1, b"", bytes(8), adapter)]))
    event, text = everything(path)
    assert isinstance(event, KvMessages)
    assert isinstance(text, ScrapedPage)
    assert key.encode() not in text.text + event.messages[0].payload
    assert len(text.text) == len(with_key.text)
    stored_event = msgpack.unpackb(event.messages[0].payload)[1][0]
    assert len(stored_event.pop("lora_name")) == len(key)
    assert stored_event == {"type": "BlockStored", "token_ids": [7] * 4}
    assert list(scan(path)) == []


def test_a_secret_that_is_there_is_found_and_removed(tmp_path: Path) -> None:
    """`redact` with a new rule masks what was kept before it."""
    path = cassette(tmp_path / "a.cassette", page(1, extra='vllm:info{team="blue-42"} 1.0'), messages(1, 0))
    assert [leak.where for leak in scan(path, ["re:blue-[0-9]+"])] == ["server_state"]
    redact(path, ["re:blue-[0-9]+"])
    event, text = everything(path)
    assert event == messages(1, 0)
    assert isinstance(text, ScrapedPage)
    assert b"blue-42" not in text.text


def test_it_goes_along_when_a_cassette_is_compacted_and_merged(tmp_path: Path) -> None:
    """Of all parts, and what stands on two of them once."""
    first = cassette(tmp_path / "a.cassette", page(1), page(2), page(3), messages(1, 0))
    copy = tmp_path / "b.cassette"
    copy.write_bytes(first.read_bytes())
    keeping(copy, page(4), messages(7, 1))
    compact(first)
    merge(tmp_path / "all.cassette", [copy, first])
    expected = [messages(1, 0), messages(7, 1), *map(page, (1, 2, 3, 4))]
    assert everything(tmp_path / "all.cassette") == expected
    assert verify(tmp_path / "all.cassette")[1] == []


DAMAGE = {
    "a base that is gone": "DELETE FROM server_state WHERE base IS NULL AND kind = 'metrics'",
    "a base that is later": "UPDATE server_state SET base = 99 WHERE base IS NOT NULL",
    "a page that is none": "UPDATE server_state SET content = x'00' WHERE kind = 'metrics' AND base IS NULL",
    "a page of 2 GB": "UPDATE server_state SET content = x'28b52ffda0ffffff7f000000' WHERE at = 2",
    "events that are none": "UPDATE server_state SET content = x'28b52ffd2001090000c0' WHERE kind = 'kv_events'",
}


@pytest.mark.parametrize("sql", DAMAGE.values(), ids=DAMAGE)
def test_what_cannot_be_read_is_said(tmp_path: Path, sql: str) -> None:
    """With a sentence, by `verify` too."""
    path = cassette(tmp_path / "a.cassette", page(1), page(2), messages(1, 0))
    change(path, sql)
    with pytest.raises(Damaged, match=r"restore the cassette|stored msgpack"):
        everything(path)
    assert len(verify(path)[1]) == 1


@pytest.mark.parametrize(("queue", "expected"), [(1024 * 1024, [page(1), page(2)]), (1, [])])
def test_the_writing_thread_takes_it_where_there_is_room(
    tmp_path: Path, queue: int, expected: list[ServerState]
) -> None:
    """Exchanges come first: it has half of the queue."""
    path = tmp_path / "a.cassette"

    async def talk() -> list[bool]:
        clock = SystemClock()
        thread = WriterThread(CassetteWriter(path, MATCHER), clock, queue_bytes=queue)
        refused = thread.keep_state(page(1))  # nobody writes yet
        thread.start()
        taken = [thread.keep_state(page(at)) for at in (1, 2)]
        await thread.stop()
        clock.close()
        return [refused, *taken]

    assert asyncio.run(talk()) == [False, *[bool(expected)] * 2]
    assert everything(path) == expected


def test_a_table_of_this_name_that_is_not_ours(tmp_path: Path) -> None:
    """It is left alone, and the recording says what to do."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(chat())
    change(path, "CREATE TABLE server_state (mine TEXT)")
    with stored(path) as state:
        assert not state.is_there
    writer = CassetteWriter(path, MATCHER)
    writer.begin()
    with pytest.raises(CassetteError, match="rename that table"):
        writer.keep_state(page(1))
    writer.rollback()
    writer.seal()
    assert verify(path) == (1, [])
