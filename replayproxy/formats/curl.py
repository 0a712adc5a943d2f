"""Each request as a curl command, for a shell script or a bug report."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from replayproxy.formats.format import ExportContext, Format, Kept, Part, StoredExchange
from replayproxy.views.curl import curl_command


def write(recordings: Iterable[StoredExchange], out: BinaryIO, context: ExportContext) -> None:
    """Write one command per exchange, each below a comment that names the exchange."""
    out.write(b"#!/bin/sh\n# The credentials of requests are not recorded: add --header where the server needs them.\n")
    for row, exchange in recordings:
        answered = f"{row['status']}, {row['ending']}" if row["status"] else str(row["ending"])
        out.write(f"\n# {row['id']}  {row['recorded_at']}  answered {answered}\n".encode())
        out.write(curl_command(exchange.request, context.base_url).encode() + b"\n")


CURL = Format(
    name="curl",
    title="commands for a shell",
    keeps={Part.REQUEST: Kept.YES, Part.HEADERS: Kept.PARTLY, Part.ARRIVAL: Kept.PARTLY},
    loses="All answers. The arrival is a comment.",
    suffix=".sh",
    write=write,
)
