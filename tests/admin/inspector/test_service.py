"""The inspector by itself: where it listens, its token, its report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from replayproxy.admin.inspector.service import WebOptions, access_of, read_token, serve_pages
from replayproxy.errors import SettingsError
from replayproxy.model import Request
from tests import wire
from tests.apps import run


@asynccontextmanager
async def served(options: WebOptions) -> AsyncIterator[str]:
    """The URL that is printed; it is stopped on the way out."""
    stopped, urls = asyncio.Event(), asyncio.Queue[str]()
    serving = asyncio.create_task(serve_pages(options, stopped, urls.put_nowait))
    try:
        yield await urls.get()
    finally:
        stopped.set()
        await serving


def test_on_loopback_it_needs_no_token(traffic: Path) -> None:
    """Its URL leads to the overview."""

    async def dialogue() -> None:
        async with served(WebOptions([traffic])) as url:
            answer = await wire.ask(url.rstrip("/"), Request("GET", "/"))
            assert (answer.status, b"traffic.cassette" in answer.body) == (200, True)

    run(dialogue())


def test_elsewhere_it_makes_a_token(traffic: Path) -> None:
    """Another one at each start, which is part of its URL; without it nothing is shown."""

    async def dialogue() -> None:
        tokens = set()
        for _ in range(2):
            async with served(WebOptions([traffic], host="0.0.0.0")) as printed:  # noqa: S104  that is the case
                url, _, token = printed.partition("/?token=")
                url = url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104  that is the case
                assert (await wire.ask(url, Request("GET", "/list.json"))).status == 401
                bearer = (("Authorization", f"Bearer {token}"),)
                assert (await wire.ask(url, Request("GET", "/list.json", bearer))).status == 200
                tokens.add(token)
        assert len(tokens) == 2
        assert min(map(len, tokens)) >= 40

    run(dialogue())


def test_a_given_token_is_needed_on_loopback_too(traffic: Path) -> None:
    """Who gives one wants it."""

    async def dialogue() -> None:
        async with served(WebOptions([traffic], token="a-token-of-my-own")) as printed:
            assert printed.endswith("/?token=a-token-of-my-own")
            assert (await wire.ask(printed.partition("/?")[0], Request("GET", "/"))).status == 401

    run(dialogue())


def test_who_may_look() -> None:
    """The names that are allowed, and the address that it listens on."""
    assert access_of("Box", ["Web.SVC"], None).hosts == {"localhost", "box", "web.svc"}


def test_a_token_file_is_read(tmp_path: Path) -> None:
    """Without the line feed at its end; one that is too short, or no text, is an error that names the option."""
    path = tmp_path / "token"
    path.write_text("0123456789abcdef\n")
    assert read_token(path, "token_file") == "0123456789abcdef"
    for content in (b"short", b"with a blank in the middle", b"\xff" * 20, "ü".encode() * 20, b""):
        path.write_bytes(content)
        with pytest.raises(SettingsError, match="--token-file"):
            read_token(path, "token_file")
    with pytest.raises(SettingsError, match="--admin-token-file"):
        read_token(tmp_path / "none", "admin_token_file")
