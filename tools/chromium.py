"""Drives a headless Chromium by the DevTools protocol, with aiohttp: for tests of the inspector and for its pictures.

    async with Chromium.started() as chromium:
        tab = await chromium.tab(width=1280, height=800, dark=True)
        await tab.go(url)
        await tab.evaluate("document.title")
        tab.requests, tab.complaints        what it has loaded; console errors, exceptions, refusals of the policy

The program is the first of `PROGRAMS` on PATH, or the one that CHROMIUM names. Nothing is downloaded, and the browser
has a profile of its own that is removed.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Self

import aiohttp

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

FLAGS = (
    *("--headless=new", "--remote-debugging-port=0", "--no-first-run", "--no-default-browser-check", "--disable-gpu"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
    *(
        "--disable-dev-shm-usage",
        "--mute-audio",
        "--hide-scrollbars",
        "--force-color-profile=srgb",
        "--no-proxy-server",
    ),
)

PATIENCE = 180.0
"""Seconds for a start, and for an answer."""

_KEYS = {"Enter": ("Enter", 13), "Escape": ("Escape", 27), "Tab": ("Tab", 9)}


class BrowserFailed(RuntimeError):
    """The browser has answered with an error, or a script in a page has thrown one."""


def program() -> str | None:
    """The browser of this machine, or None."""
    named = os.environ.get("CHROMIUM")
    return named or next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Chromium:
    """A running browser."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self._connection = connection
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._listeners: dict[str, Callable[[str, dict[str, Any]], None]] = {}

    @classmethod
    @asynccontextmanager
    async def started(cls) -> AsyncIterator[Self]:
        """Start it; end it on the way out. Raises `FileNotFoundError` where there is none."""
        found = program()
        if found is None:
            raise FileNotFoundError(
                f"there is no browser: install one of {', '.join(PROGRAMS)}, or name it in CHROMIUM"
            )
        with tempfile.TemporaryDirectory(prefix="replayproxy-chromium-", ignore_cleanup_errors=True) as folder:
            flags = [*FLAGS, f"--user-data-dir={folder}"]
            if os.geteuid() == 0:  # a sandbox needs a user who is not root
                flags.append("--no-sandbox")
            quiet = asyncio.subprocess.DEVNULL
            process = await asyncio.create_subprocess_exec(found, *flags, "about:blank", stdout=quiet, stderr=quiet)
            try:
                address = await asyncio.wait_for(_address(Path(folder) / "DevToolsActivePort", process), PATIENCE)
                async with (
                    aiohttp.ClientSession() as session,
                    session.ws_connect(address, max_msg_size=0) as connection,
                ):
                    chromium = cls(connection)
                    listening = asyncio.create_task(chromium._listen())
                    try:
                        yield chromium
                    finally:
                        with suppress(BrowserFailed, ConnectionError, TimeoutError):
                            await chromium.send("Browser.close")
                        listening.cancel()
            finally:
                with suppress(ProcessLookupError):
                    process.terminate()
                await process.wait()

    async def tab(
        self, *, width: int = 1280, height: int = 800, dark: bool = False, scripts: bool = True, scale: float = 1
    ) -> Tab:
        """A new page without cookies. `scripts` False: JavaScript is off."""
        context = (await self.send("Target.createBrowserContext"))["browserContextId"]
        target = (await self.send("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
        session = (await self.send("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        tab = Tab(self, session)
        self._listeners[session] = tab.receive
        for domain in ("Page", "Runtime", "Network", "Log", "Audits"):
            await tab.send(f"{domain}.enable")
        await tab.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await tab.send("Emulation.setEmulatedMedia", features=[scheme])
        if not scripts:
            await tab.send("Emulation.setScriptExecutionDisabled", value=True)
        return tab

    async def send(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol. Raises `BrowserFailed`."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        await self._connection.send_json(message)
        return await asyncio.wait_for(answer, PATIENCE)

    async def _listen(self) -> None:
        async for raw in self._connection:
            if raw.type is not aiohttp.WSMsgType.TEXT:
                break
            message = raw.json()
            if "id" in message:
                self._answered(message)
            elif listener := self._listeners.get(message.get("sessionId", "")):
                listener(message["method"], message["params"])

    def _answered(self, message: dict[str, Any]) -> None:
        waiting = self._answers.pop(message["id"], None)
        if waiting is None or waiting.done():
            return
        if "error" in message:
            waiting.set_exception(BrowserFailed(str(message["error"])))
        else:
            waiting.set_result(message.get("result", {}))


class Tab:
    """One page of the browser."""

    def __init__(self, chromium: Chromium, session: str) -> None:
        self._chromium = chromium
        self._session = session
        self._loaded = asyncio.Event()
        self.requests: list[str] = []
        """The addresses that it has asked for."""
        self.statuses: dict[str, int] = {}
        """The status of each answer, by address."""
        self.complaints: list[str] = []
        """Messages of the console, exceptions of scripts, and what the content security policy has refused."""
        self.dialogs: list[str] = []
        """What `alert` and its like have said."""

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol for this page."""
        return await self._chromium.send(method, self._session, **params)

    def receive(self, event: str, params: dict[str, Any]) -> None:
        """Note an event."""
        match event:
            case "Page.loadEventFired":
                self._loaded.set()
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Network.responseReceived":
                self.statuses[params["response"]["url"]] = params["response"]["status"]
            case "Log.entryAdded":
                self.complaints.append(f"{params['entry']['source']}: {params['entry']['text']}")
            case "Runtime.exceptionThrown":
                self.complaints.append(f"exception: {params['exceptionDetails']['text']}")
            case "Runtime.consoleAPICalled":
                self.complaints.append(f"console.{params['type']}")
            case "Audits.issueAdded" if params["issue"]["code"] == "ContentSecurityPolicyIssue":
                self.complaints.append(f"policy: {params['issue']['details']}")
            case "Page.javascriptDialogOpening":
                self.dialogs.append(params["message"])
                closing = self.send("Page.handleJavaScriptDialog", accept=False)
                self._closing = asyncio.ensure_future(closing)

    async def go(self, url: str) -> None:
        """Open an address, and wait until it is loaded."""
        self._loaded.clear()
        answer = await self.send("Page.navigate", url=url)
        if answer.get("errorText"):
            raise BrowserFailed(f"{url}: {answer['errorText']}")
        await self.loaded()

    async def loaded(self) -> None:
        """Wait until a page that is being opened is there."""
        await asyncio.wait_for(self._loaded.wait(), PATIENCE)

    async def following(self, action: Any) -> None:
        """Do something that opens another page, and wait until it is there."""
        self._loaded.clear()
        await action
        await self.loaded()

    async def evaluate(self, script: str) -> Any:
        """The value of a script's expression; awaited if it is a promise. Raises `BrowserFailed`."""
        answer = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserFailed(str(details.get("exception", {}).get("description", details["text"])))
        return answer["result"].get("value")

    async def until(self, script: str) -> Any:
        """Wait until an expression is true, looking at each frame of the browser; return its value."""
        looked = f"(async () => {{ for (;;) {{ const v = ({script}); if (v) return v;"
        return await self.evaluate(f"{looked} await new Promise((d) => setTimeout(d, 30)); }} }})()")

    async def press(self, key: str) -> None:
        """Press and release a key."""
        code, number = _KEYS[key] if key in _KEYS else (f"Key{key.upper()}", ord(key.upper()))
        text = {"text": "\r"} if key == "Enter" else {} if key in _KEYS else {"text": key}
        one = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        await self.send("Input.dispatchKeyEvent", type="keyDown", **one, **text)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **one)

    async def text(self) -> str:
        """What a person reads on it, also where JavaScript is off."""
        document = await self.send("DOM.getDocument", depth=-1)
        found = await self.send("DOM.getOuterHTML", nodeId=document["root"]["nodeId"])
        return str(found["outerHTML"])

    async def picture(self, *, whole: bool = False) -> bytes:
        """The page as PNG: what is in the window, or all of it."""
        more: dict[str, Any] = {}
        if whole:
            size = (await self.send("Page.getLayoutMetrics"))["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 6000), "scale": 1}
            more = {"clip": clip, "captureBeyondViewport": True}
        answer = await self.send("Page.captureScreenshot", format="png", **more)
        return base64.b64decode(answer["data"])


async def _address(file: Path, process: asyncio.subprocess.Process) -> str:
    """Where the browser listens: it writes that into a file of its profile."""
    while True:
        if process.returncode is not None:
            raise BrowserFailed(f"the browser ended with {process.returncode} before it was ready")
        with suppress(OSError, ValueError):
            port, path = file.read_text().split()  # noqa: ASYNC240  a line of a local file
            return f"ws://127.0.0.1:{int(port)}{path}"
        await asyncio.sleep(0.05)
