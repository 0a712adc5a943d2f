"""Takes the pictures of the inspector in the documentation: invented traffic, a real inspector, a real browser.

    python -m tools.inspector_pictures [FOLDER]        docs/assets unless told; takes ten seconds

Needs a Chromium (tools/chromium). Nothing of a picture is made by hand.
"""

from __future__ import annotations

import asyncio
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


def main(arguments: list[str]) -> int:
    """Write traffic, look at it."""
    folder = Path(arguments[0]) if arguments else ASSETS
    with tempfile.TemporaryDirectory(prefix="replayproxy-") as temporary:
        asyncio.run(take(write(Path(temporary) / "chat.cassette"), folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
