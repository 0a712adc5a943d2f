"""Visits to an inspector in the test's own loop, without a socket; and a cassette whose recorded text attacks it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import orjson
import pytest
from quart import Quart
from quart.testing.utils import sentinel
from werkzeug.datastructures import Headers

from replayproxy.admin.inspector.access import Access
from replayproxy.admin.inspector.application import Inspector, mount
from replayproxy.admin.inspector.library import CassetteLibrary
from replayproxy.admin.inspector.page import InspectedRun
from replayproxy.model import Exchange, Leg, Request, Response, Timeline
from tests.apps import run
from tools.example_traffic import JSON, STREAM, exchanges, written

OPEN = Access(frozenset({"localhost"}))

ATTACKS = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="alert(1)">',
    "<svg onload=alert(2)>",
    "</title></pre></textarea></script><script src='https://evil.example/x.js'></script>",
    "javascript:alert(3)",
    "{{ 7 * 7 }}{% raw %}",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "\u202e\x1b[31m\x00\u2028<!--",
    "' onfocus='alert(4)' autofocus='",
)
"""What a recording must never do to whoever looks at it."""


class Visited:
    """An answer."""

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def text(self) -> str:
        """As text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """As JSON."""
        return orjson.loads(self.body)


Visit = Callable[..., Coroutine[Any, Any, Visited]]


def visiting(
    test: Callable[[Visit], Coroutine[Any, Any, None]],
    *cassettes: Path,
    access: Access = OPEN,
    shown: InspectedRun | None = None,
    patience: float = 15.0,
    prefix: str = "",
) -> None:
    """Run a test with a function that visits a path of an inspector of these cassettes."""

    async def whole() -> None:
        app = Quart("inspected", static_folder=None)
        library = CassetteLibrary(lambda: cassettes, patience)
        mount(app, Inspector(library, access, shown), prefix)
        client = app.test_client(use_cookies=True)

        async def visit(path: str, method: str = "GET", **headers: str) -> Visited:
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            answer = await client.open(path, method=method, headers=fields, json=sentinel)
            return Visited(answer.status_code, answer.headers, await answer.get_data(as_text=False))

        try:
            await test(visit)
        finally:
            library.close()

    run(whole())


class Markup(HTMLParser):
    """Reads a page as a browser does, and notes what could run or load something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.scripts: list[str] = []
        self.handlers: list[str] = []
        self.loads: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one element."""
        self.tags.append(tag)
        for name, value in attrs:
            if name.startswith("on") or name == "style":
                self.handlers.append(f"{tag} {name}")
            if name in ("src", "srcset", "data") or (tag == "link" and name == "href"):
                self.loads.append(value or "")
            if tag == "a" and name == "href":
                self.links.append(value or "")
        if tag == "script":
            self.scripts.append(dict(attrs).get("src") or "inline")

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


def hostile() -> list[Exchange]:
    """Exchanges that hold each attack in each field that a recorder keeps of a stranger."""
    return [_hostile(number, attack) for number, attack in enumerate(ATTACKS)]


def _hostile(number: int, attack: str) -> Exchange:
    tool = {"type": "function", "function": {"name": attack, "description": attack}}
    call = {"id": attack, "type": "function", "function": {"name": attack, "arguments": attack}}
    messages: list[dict[str, Any]] = [{"role": role, "content": attack} for role in ("system", "user", attack)]
    messages.append({"role": "assistant", "content": None, "reasoning": attack, "tool_calls": [call]})
    body = {"model": attack, "messages": messages, "tools": [tool], "stream": True}
    field = "".join(letter for letter in attack if " " <= letter <= "~")
    target = "/v1/chat/completions?x=%3Cscript%3E"
    request = Request("POST", target, (*JSON, ("x-stranger", field)), orjson.dumps(body))
    deltas: list[dict[str, Any]] = [{"content": attack}, {"reasoning": attack}, {"tool_calls": [{"index": 0, **call}]}]
    frame = {"object": "chat.completion.chunk", "model": attack}
    events = [
        b"data: "
        + orjson.dumps({**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": attack}]})
        + b"\n\n"
        for delta in deltas
    ]
    times = tuple(10_000_000 * (place + 1) for place in range(len(events)))
    timeline = Timeline(times[0], times, times[-1])
    response = Response(200, STREAM, b"".join(events), tuple(map(len, events)), timeline)
    legs = (Leg("prefill", f"http://{attack}", request, response), Leg("decode", attack, request, response, 10**6))
    at = 1_795_000_000_000_000_000 + number * 10**9
    return Exchange(request, response, at, legs, scope=attack.replace("\0", ""))


@pytest.fixture(scope="session")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cassette of 120 exchanges of each kind."""
    return written(tmp_path_factory.mktemp("inspector") / "traffic.cassette", exchanges(120))


@pytest.fixture(scope="session")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cassette of strangers' text."""
    return written(tmp_path_factory.mktemp("inspector") / "hostile.cassette", hostile())
