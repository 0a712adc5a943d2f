"""The inspector in a headless Chromium: every page, live tail, keys, hostile recordings, no JavaScript, axe.

It is `live` because it needs a browser, and axe-core from npm's registry. Each test is skipped where there is none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from replayproxy.admin.inspector.application import PAGES
from replayproxy.model import Request
from tests import wire
from tests.admin.inspector.visits import attacked, traffic
from tests.apps import recording, run, running
from tests.cli.tapes import asked
from tests.live.registries import AXE, node_modules
from tests.processes import running as process
from tools.chromium import Chromium, Tab, program
from tools.example_traffic import exchanges, long_stream, written

__all__ = ["attacked", "traffic"]

pytestmark = pytest.mark.skipif(program() is None, reason="there is no Chromium on this machine: CHROMIUM names one")

Test = Callable[[Chromium, str], Coroutine[Any, Any, None]]


def browsing(test: Test, *cassettes: Path) -> None:
    """Run a test with a browser and the URL of `replayproxy web`."""

    async def whole(url: str) -> None:
        async with Chromium.started() as chromium:
            await test(chromium, url)

    with process("web", *cassettes, "--port", "0") as proxy:
        run(whole(proxy.url.rstrip("/")))


async def paths(url: str, cassette: str) -> list[str]:
    """One path of each page."""
    rows = orjson.loads((await wire.ask(url, Request("GET", "/list.json"))).body)["rows"]
    found = []
    for route in PAGES:
        path = route.path.replace("<cassette>", cassette).replace("<id>", rows[0]["id"])
        found.append(path)
    boxes = "&".join(f"x={cassette}/{row['id']}~{row['number']}" for row in rows[:2])
    return [*found, "/list?model=chat-8b&sort=-ttft", f"/compare?{boxes}", f"/compare?a={cassette}&b={cassette}"]


def assert_quiet(tab: Tab, url: str) -> None:
    """No error of the console or the policy, no script of a stranger, and no request to elsewhere."""
    assert tab.complaints == []
    assert tab.dialogs == []
    assert {urlsplit(request).netloc for request in tab.requests} == {urlsplit(url).netloc}
    assert set(tab.statuses.values()) <= {200, 304}


def test_every_page_is_quiet(traffic: Path) -> None:
    """In light and dark, wide and narrow: nothing is refused, nothing is loaded from elsewhere, nothing overflows."""

    async def test(chromium: Chromium, url: str) -> None:
        for dark, width in ((False, 1280), (True, 400)):
            tab = await chromium.tab(width=width, dark=dark)
            for path in await paths(url, "traffic.cassette"):
                await tab.go(url + path)
                wide = await tab.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, path
                assert await tab.evaluate("document.querySelectorAll('h1').length") == 1
            assert_quiet(tab, url)

    browsing(test, traffic)


def test_a_hostile_recording_executes_nothing(attacked: Path) -> None:
    """Scripts in prompts, models, header fields, tool names, finish reasons and scopes are read, and not run."""

    async def test(chromium: Chromium, url: str) -> None:
        tab = await chromium.tab()
        every = await paths(url, "hostile.cassette")
        ids = await listed(tab, url)
        for path in [*every, *(f"/exchange/hostile.cassette/{id}" for id in ids)]:
            await tab.go(url + path)
            assert await tab.evaluate("document.title") != "owned"
            assert await tab.evaluate("document.querySelectorAll('img, iframe, object, embed, base').length") == 0
            assert await tab.evaluate("document.activeElement === document.body")
        assert_quiet(tab, url)

    browsing(test, attacked)


async def listed(tab: Tab, url: str) -> list[str]:
    """The ids that the list shows."""
    await tab.go(f"{url}/list")
    found: list[str] = await tab.evaluate("[...document.querySelectorAll('tbody code')].map((one) => one.textContent)")
    return found


def test_without_javascript_every_page_works(traffic: Path) -> None:
    """Lists have filters and pages, exchanges their texts; forms and links lead on."""

    async def test(chromium: Chromium, url: str) -> None:
        tab = await chromium.tab(scripts=False)
        for path in await paths(url, "traffic.cassette"):
            await tab.go(url + path)
            assert "<h1>" in await tab.text(), path
        await tab.go(f"{url}/list?n=50")
        text = await tab.text()
        assert "Older" in text
        assert text.count("data-row") == 50
        assert not any(request.endswith(".js") and tab.statuses.get(request) is None for request in tab.requests)
        await tab.go(f"{url}/list?live=1")
        assert 'http-equiv="refresh"' in await tab.text()

    browsing(test, traffic)


def test_keys_lead_through_the_pages(traffic: Path) -> None:
    """j and k choose rows, Enter opens one, / goes to the filters, ? explains, letters open pages."""

    async def test(chromium: Chromium, url: str) -> None:
        tab = await chromium.tab()
        await tab.go(f"{url}/list")
        for key, place in (("j", 0), ("j", 1), ("j", 2), ("k", 1)):
            await tab.press(key)
            assert await tab.evaluate("rows().findIndex((row) => row.classList.contains('chosen'))") == place
        await tab.press("x")
        assert await tab.evaluate("document.querySelectorAll('tr.chosen input:checked').length") == 1
        number = await tab.evaluate("document.querySelector('tr.chosen a').textContent")
        await tab.following(tab.press("Enter"))
        assert number in await tab.evaluate("document.title")
        await tab.press("?")
        assert await tab.evaluate("document.querySelector('dialog').open")
        await tab.press("Escape")
        assert not await tab.evaluate("document.querySelector('dialog').open")
        await tab.following(tab.press("s"))
        assert await tab.evaluate("location.pathname") == "/stats"
        await tab.press("/")
        assert await tab.evaluate("document.activeElement.name") == "model"
        await tab.press("j")
        assert await tab.evaluate("document.activeElement.value") == "j"
        assert_quiet(tab, url)

    browsing(test, traffic)


def test_live_tail_follows_a_recorder(tmp_path: Path) -> None:
    """On its admin port: new exchanges come into the list by themselves, the filter stays, so does the length."""
    path = tmp_path / "live.cassette"

    async def dialogue() -> None:
        async with (
            simulator() as upstream,
            running(recording(path, upstream), admin=True) as proxy,
            Chromium.started() as chromium,
        ):
            url = f"{proxy.admin_url}/inspector"

            async def ask(prompt: str, model: str) -> None:
                request = asked(prompt, model=model, max_tokens=3)
                answer = await wire.ask(proxy.url, Request("POST", request.target, request.headers, request.body))
                assert answer.status == 200

            await ask("first", "tiny")
            tab = await chromium.tab()
            await tab.go(f"{url}/list?model=tiny&n=5")
            await tab.until("document.querySelectorAll('tbody tr[data-row]').length === 1")
            await tab.following(tab.press("l"))
            assert await tab.evaluate("location.search") == "?model=tiny&n=5&live=1"
            await tab.press("j")
            chosen = await tab.evaluate("document.querySelector('tr.chosen').dataset.number")
            await ask("second", "tiny")
            await tab.until("document.querySelectorAll('tbody tr[data-row]').length === 2")
            assert await tab.evaluate("document.querySelectorAll('tr.fresh').length") >= 1
            assert await tab.evaluate("document.querySelector('tr.chosen').dataset.number") == chosen
            for number in range(8):
                await ask(f"more {number}", "tiny")
            await tab.until("document.getElementById('count').textContent.startsWith('10 ')")
            assert await tab.evaluate("document.querySelectorAll('tbody tr[data-row]').length") == 5
            assert_quiet(tab, url)

    run(dialogue())


@asynccontextmanager
async def simulator() -> AsyncIterator[str]:
    """A server that answers chats."""
    with process("simulate", "--model", "tiny", "--port", "0") as server:
        yield server.url


def test_a_long_stream_is_drawn_in_time(tmp_path: Path) -> None:
    """An answer of 50 000 chunks: the page is there, with its binned timeline and one page of chunks."""
    path = written(tmp_path / "long.cassette", [long_stream(50_000)])

    async def test(chromium: Chromium, url: str) -> None:
        tab = await chromium.tab()
        (id,) = await listed(tab, url)
        await tab.go(f"{url}/exchange/long.cassette/{id}")
        assert await tab.evaluate("document.querySelectorAll('.chunks tbody tr').length") == 200
        assert await tab.evaluate("document.querySelectorAll('svg *').length") < 1000
        assert_quiet(tab, url)

    browsing(test, path)


def test_axe_finds_nothing(tmp_path: Path) -> None:
    """Names, roles, contrast, order: no violation of WCAG 2.2 A and AA, and of best practices, on any page."""
    few = written(tmp_path / "few.cassette", exchanges(20))  # one of each kind: axe looks at each element
    script = (node_modules(AXE) / "axe-core" / "axe.min.js").read_text("utf-8")

    async def test(chromium: Chromium, url: str) -> None:
        tab = await chromium.tab()
        found = {}
        for path in await paths(url, "few.cassette"):
            await tab.go(url + path)
            await tab.evaluate(f"{script}; true")
            if violations := await tab.evaluate(
                "axe.run().then((found) => found.violations.map((one) => one.id + ': '"
                " + one.nodes.slice(0, 3).map((node) => node.html.slice(0, 200)).join(' | ')))"
            ):
                found[path] = violations
        assert found == {}

    browsing(test, few)
