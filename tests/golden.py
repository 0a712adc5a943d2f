"""Record the golden cassette of a format: a small one, of a real vLLM, through the real proxy.

    python -m tests.golden cassettes/format-1.cassette http://127.0.0.1:8100

For once in the life of a format, when it is settled (cassettes/README.md says why); an existing file is not touched.
Prints what tests/cassette/test_golden.py holds against it. Knows vLLM with a model called `tiny`, as `make live` and
examples/real-vllm start it.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from pathlib import Path
from typing import Any

from replayproxy.cassette.reader import CassetteReader
from replayproxy.core.dialects.facts import text_of
from replayproxy.model import Request
from tests.apps import recording, run, running
from tests.wire import Connection, ask, connect, get, post

CHAT, TEXT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
USAGE = {"include_usage": True}


def chat(text: str, **more: Any) -> Request:
    """A chat of one turn, the same every time."""
    messages = [{"role": "user", "content": text}]
    return post(CHAT, {"model": "tiny", "messages": messages, "max_tokens": 24, "temperature": 0, **more})


def completion(prompt: Any, **more: Any) -> Request:
    """A completion of text or of token ids."""
    return post(TEXT, {"model": "tiny", "prompt": prompt, "max_tokens": 24, "temperature": 0, **more})


REQUESTS: list[Request] = [
    chat("Hello.", stream=True),
    chat("Hello.", stream=True),  # the second occurrence
    chat("Hello."),
    chat("Hello.", stream=True, stream_options=USAGE),
    chat("Hello.", stream=True, user="somebody else", priority=0),  # the third: what does not shape the answer
    chat("Say two things.", stream=True, n=2, temperature=1, seed=7),
    chat("Say two things.", n=2, temperature=1, seed=7),
    chat("How likely?", stream=True, logprobs=True, top_logprobs=2, max_tokens=6),
    chat("Grüß Gott, 你好, مرحبا, 🙂\u200d↔️ and \u2028.", stream=True),
    chat("The weather in Rome?", tools=[TOOL], tool_choice="none"),
    chat("The weather in Rome?", tools=[TOOL], tool_choice="none", stream=True),
    chat("The weather in Rome?", tools=[TOOL], tool_choice="required"),
    chat("One.", stream=True, max_tokens=1),
    *(chat(f"Tell me story {number % 4}.", stream=True) for number in range(8)),  # said twice, so worth a vocabulary
    completion("Once upon a time", stream=True),
    completion("Once upon a time"),
    completion([1, 2, 3, 4], echo=True, stream=True),
    completion(["One", "Two"], max_tokens=4),
    post(RESPONSES, {"model": "tiny", "input": "Hello.", "max_output_tokens": 8, "temperature": 0}),
    post(RESPONSES, {"model": "tiny", "input": "Hello.", "max_output_tokens": 8, "temperature": 0, "stream": True}),
    post(
        MESSAGES,
        {"model": "tiny", "messages": [{"role": "user", "content": "Hello."}], "max_tokens": 8, "stream": True},
        ("Anthropic-Version", "2023-06-01"),
    ),
    post("/tokenize", {"model": "tiny", "prompt": "Hello."}),
    get("/v1/models?one=1&two=%20"),
    chat("Hello.", model="nobody"),
    Request("POST", CHAT, (("Content-Type", "application/json"),), b'{"model": "tiny", "messages": ['),
    chat("Too much.", max_tokens=1_000_000),
    Request("DELETE", "/v1/models"),
]


async def _begin(connection: Connection, request: Request, frames: int) -> None:
    """Ask, and hear the first so many frames."""
    connection.send(request)
    await connection.head()
    async for _ in connection.frames():
        frames -= 1
        if not frames:
            return


async def _record(path: Path, upstream: str) -> None:
    long = {"stream": True, "max_tokens": 1500, "ignore_eos": True}
    async with running(recording(path, upstream), drain=0) as proxy:
        for request in REQUESTS:
            await ask(proxy.url, request)
        async with connect(proxy.url) as leaving:
            await _begin(leaving, chat("A client that leaves.", **long), 9)
        await asyncio.sleep(0.5)  # until the proxy has noticed
        async with connect(proxy.url) as staying:
            await _begin(staying, chat("A proxy that stops.", **long), 9)
            await proxy.app.stop(drain=0)


def table(path: Path) -> list[tuple[object, ...]]:
    """What there is, in the words of the test: method, path, status, ending, occurrence, chunks, sizes, digest."""
    with CassetteReader(path) as cassette:
        return cassette.all(
            "SELECT method, path, v.status, v.ending, v.occurrence, v.chunks, v.request_size, v.response_size,"
            " lower(hex(digest)) FROM v_exchange AS v JOIN exchange ON exchange.id = number ORDER BY number"
        )


def main(path: Path, upstream: str) -> None:
    """Record, and say what is there."""
    if path.exists():
        sys.exit(f"{path} exists, and a golden cassette is never recorded again: see cassettes/README.md")
    run(_record(path, upstream))
    endings = [row[3] for row in table(path)]
    with CassetteReader(path) as cassette:
        kinds = {kind for (kind,) in cassette.all("SELECT kind FROM dictionary")}
    if endings != ["complete"] * len(REQUESTS) + ["client_left", "proxy_stopped"] or len(kinds) != 3:
        path.unlink()
        sys.exit(f"it has {kinds} and ends with {endings[-2:]}: once more, on a machine that idles")
    with CassetteReader(path) as cassette:
        texts = {number: text_of(cassette.response(number)) for number in (1, 3, 9, 26)}
    rows = "".join(f"    {row},\n" for row in table(path))
    sys.stdout.write(
        f'SHA256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"\n\n'
        f"EXCHANGES: list[tuple[object, ...]] = [\n{rows}]\n\n"
        f"TEXTS: dict[int, str] = {texts}\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
