"""A real recorder whose cassette is taken away: it notices within a second, and its exit code is never a lie."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from tests import wire
from tests.apps import exchanges, run
from tests.doubles.upstreams import Send, answer, scripted
from tests.processes import Proxy, recording


def removed(path: Path) -> None:
    """With its folder."""
    shutil.rmtree(path.parent)


def unlinked(path: Path) -> None:
    """Alone."""
    path.unlink()


def truncated(path: Path) -> None:
    """All of it, and its log."""
    os.truncate(path, 0)
    os.truncate(f"{path}-wal", 0)


async def is_noticed(proxy: Proxy) -> bool:
    """Whether the proxy has said so; it looks after its file once a second, whether anything is recorded or not."""
    ready = orjson.loads((await wire.ask(proxy.admin_url or "", wire.get("/ready"))).body)
    return ready["status"] == "degraded" or "recording goes on onto" in proxy.said


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for it: half a minute, for a machine may be busy."""
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(("harm", "code"), [(removed, 0), (unlinked, 0), (truncated, 1)])
def test_the_exit_code_says_whether_all_is_there(tmp_path: Path, harm: Callable[[Path], None], code: int) -> None:
    """Nothing is lost and 0, or the loss is counted and 1."""
    cassette = tmp_path / "folder" / "chat.cassette"
    cassette.parent.mkdir()

    async def story() -> None:
        async with scripted(Send(answer("200 OK", b"{}")), again=True) as upstream:
            with recording(cassette, upstream.url) as proxy:
                for number in range(5):
                    await wire.ask(proxy.url, wire.post("/v1/chat/completions", {"number": number}))
                await wire.ask(proxy.admin_url or "", wire.get("/ready"))

                async def are_written() -> bool:
                    with closing(sqlite3.connect(f"file:{cassette}?mode=ro", uri=True)) as reader:
                        (count,) = reader.execute("SELECT count(*) FROM exchange").fetchone()
                        return bool(count == 5)

                await until(are_written)
                harm(cassette)
                await until(lambda: is_noticed(proxy))
                for number in range(3):
                    await wire.ask(proxy.url, wire.post("/v1/chat/completions", {"more": number}))
            assert proxy.code == code, proxy.said
            names = [cassette, cassette.with_name("chat-2.cassette")]
            found = sum(len(exchanges(name)) for name in names if name.exists() and name.stat().st_size)
            assert f"recorded {found} exchanges" in proxy.said
            assert found == (8 if code == 0 else 3)
            assert ("5 recorded exchanges are lost" in proxy.said) == (code == 1)

    run(story())
