"""A prefill/decode proxy of the design that people copy from the Mooncake guide for vLLM: Quart, aiohttp, a client
session for each leg, one token from the prefill, its answer thrown away, decode's answer passed on in pieces of 1024.

    python -m tests.bench.guide_proxy PREFILL_URL DECODE_URL       serves on a free port, which it prints

Written for the measurement. Knows no tickets, no errors and no recording.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, Response, request

from replayproxy.net.http_server import free_socket

PATH = "/v1/completions"
PIECE = 1024
PATIENCE = aiohttp.ClientTimeout(total=6 * 60 * 60)


async def answer_of(url: str, body: Any) -> AsyncIterator[bytes]:
    """What a server says, in pieces."""
    async with (
        aiohttp.ClientSession(timeout=PATIENCE) as session,
        session.post(url, json=body, headers={"Authorization": "Bearer none"}) as answer,
    ):
        async for piece in answer.content.iter_chunked(PIECE):
            yield piece


def application(prefill: str, decode: str) -> Quart:
    """The proxy."""
    app = Quart(__name__)

    @app.post(PATH)
    async def complete() -> Response:
        body = await request.get_json()
        async for _ in answer_of(prefill + PATH, {**body, "max_tokens": 1}):
            pass
        answer = Response(answer_of(decode + PATH, body), content_type="text/event-stream")
        answer.timeout = None
        return answer

    return app


async def main(prefill: str, decode: str) -> None:
    """Serve until killed."""
    bound = free_socket("127.0.0.1", 0)
    bound.listen(128)  # whoever reads the port may come at once
    config = Config()
    config.bind = [f"fd://{bound.fileno()}"]
    config.accesslog = config.errorlog = None
    config.keep_alive_max_requests = 1_000_000  # hypercorn hangs up after 1000
    print(bound.getsockname()[1], flush=True)
    await serve(application(prefill, decode), config)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
