"""Takes the pictures of inspector and datasette in the documentation: invented traffic, a real browser.

    python -m tools.inspector_pictures [FOLDER]        docs/assets unless told; takes ten seconds

Needs a Chromium (tools/chromium). Nothing of a picture is made by hand.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import tempfile
from pathlib import Path

from replayproxy.admin.inspector.service import WebOptions, serve_pages
from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.views.port import ExchangeFilter
from tools.chromium import Chromium
from tools.example_traffic import write

ASSETS = Path(__file__).parents[1] / "docs" / "assets"
WIDTH, HEIGHT = 1200, 760
SCALE = 0.75
"""Pixels of a picture per pixel of the page."""


def pictures(cassette: Path) -> dict[str, tuple[str, bool]]:
    """By the name of the file: the path of a page, and whether it is dark."""
    with CassetteBrowser.open(cassette) as browser:
        row = next(browser.newest_rows(ExchangeFilter(where="finish = 'tool_calls'"), 1))
    return {
        "inspector-overview.png": ("", False),
        "inspector-list.png": ("list?model=chat-70b", True),
        "inspector-exchange.png": (f"exchange/{cassette.name}/{row['id']}", False),
        "inspector-stats.png": ("stats", True),
    }


async def take(cassette: Path, folder: Path) -> None:
    """Take all of them."""
    stopped, urls = asyncio.Event(), asyncio.Queue[str]()
    serving = asyncio.create_task(serve_pages(WebOptions([cassette]), stopped, urls.put_nowait))
    try:
        url = await urls.get()
        async with Chromium.started() as chromium:
            for name, (path, dark) in pictures(cassette).items():
                tab = await chromium.tab(width=WIDTH, height=HEIGHT, dark=dark, scale=SCALE)
                await tab.go(url + path)
                (folder / name).write_bytes(await tab.picture())
    finally:
        stopped.set()
        await serving


async def take_datasette(cassette: Path, folder: Path) -> None:
    """Take the messages of a cassette as datasette shows them, with the plugin of this package."""
    with CassetteBrowser.open(cassette) as browser:
        id = next(browser.newest_rows(ExchangeFilter(where="finish = 'tool_calls'"), 1))["id"]
    port = _free_port()
    words = ("-m", "datasette", "serve", str(cassette), "--port", str(port))
    serving = await asyncio.create_subprocess_exec(sys.executable, *words, stderr=asyncio.subprocess.PIPE)
    assert serving.stderr is not None
    try:
        async for line in serving.stderr:
            if b"running on" in line:
                break
        async with Chromium.started() as chromium:
            tab = await chromium.tab(width=WIDTH, height=560, dark=False, scale=SCALE)
            await tab.go(f"http://127.0.0.1:{port}/{cassette.stem}/messages?id={id[:1]}&_hide_sql=1")
            (folder / "datasette.png").write_bytes(await tab.picture())
    finally:
        serving.terminate()
        await serving.wait()


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def main(arguments: list[str]) -> int:
    """Write traffic, look at it."""
    folder = Path(arguments[0]) if arguments else ASSETS
    with tempfile.TemporaryDirectory(prefix="replayproxy-") as temporary:
        cassette = write(Path(temporary) / "chat.cassette")
        asyncio.run(take(cassette, folder))
        asyncio.run(take_datasette(cassette, folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
