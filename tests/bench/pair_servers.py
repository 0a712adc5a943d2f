"""A double of a prefill/decode pair as a process. Prints its two URLs as JSON.

    python -m tests.bench.pair_servers PROTOCOL

One process for both servers: what they cost is the same for every proxy in front of them.
"""

from __future__ import annotations

import asyncio
import sys

import orjson
import uvloop

from tests.doubles.pair_double import pair


async def main(protocol: str) -> None:
    """Serve until killed."""
    async with pair(protocol) as double:
        print(orjson.dumps([double.prefill.url, double.decode.url]).decode(), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
