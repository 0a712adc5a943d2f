"""The verdicts on one stream of `tests.streams`, each by its own way, and whether they agree.

recorder     a tape hears the chunks, lets go now and then, and its client leaves
connection   the same bytes where closing is the end of the body; then FIN, or RST
whole        what the archive has of it, judged in one piece
oracle       `Stream.ended`
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from replayproxy.core.dialects.stream_end import end_of
from replayproxy.core.redaction import Redactor
from replayproxy.model import Chunk, Chunks, End, Ending, Head, Headers, Request, Response
from replayproxy.net.upstream_connection import UpstreamConnection
from replayproxy.proxy.counters import Counters
from replayproxy.proxy.recorder import Recorder
from tests.doubles.fakes import InMemoryArchive, ManualClock
from tests.streams import Stream, made


class Bare:
    """A stream redactor that masks nothing: masking is tested elsewhere, and takes longer than all of this."""

    too_long = False
    undecided_bytes = 0

    def __init__(self) -> None:
        self._held: list[Chunks] = []

    def head(self, head: Head) -> Head:
        """As it is."""
        return head

    def feed(self, chunks: Chunks) -> None:
        """Hold them."""
        self._held.append(chunks)

    def decide(self) -> Chunks:
        """All that is held."""
        held, self._held = self._held, []
        return Chunks.joined(held)

    def finish(self, head: Head | None) -> tuple[Head | None, Chunks]:
        """Likewise."""
        return head, self.decide()


class Unmasked(Redactor):
    """Gives stream redactors that mask nothing."""

    def stream_redactor(self, credentials: object) -> Bare:  # type: ignore[override]  # as much as a tape uses of one
        """Over one answer."""
        return Bare()


REDACTOR = Unmasked(b"0123456789abcdef")


class Wired:
    """As much of a transport as a connection uses."""

    def write(self, data: bytes) -> None:
        """Nowhere."""

    def is_closing(self) -> bool:
        """Never."""
        return False

    def abort(self) -> None:
        """Nothing to end."""

    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """Nothing is read."""

    def get_write_buffer_size(self) -> int:
        """All is written."""
        return 0

    def get_extra_info(self, name: str) -> None:
        """There is no socket."""


@contextmanager
def leaving() -> Iterator[None]:
    """The client leaves at the end of this block: its handler is cancelled."""
    with suppress(asyncio.CancelledError):
        yield


def recorded(stream: Stream, draw: random.Random) -> Response:
    """What the archive has when the client has left."""
    clock, archive = ManualClock(), InMemoryArchive()
    recorder = Recorder(archive, clock, Counters(), REDACTOR)

    async def hear() -> None:
        with recorder.record(Request("POST", stream.path, (), b"{}")) as tape:
            await tape.head(Head(0, 200, stream.fields))
            for chunk in stream.chunks[: stream.received]:
                clock.move(1)
                tape.chunk(Chunk(clock.now(), chunk))
                if draw.random() < 0.3:
                    tape.flush()
            raise asyncio.CancelledError

    with leaving():
        finished(hear())
    [response] = archive.responses()
    return response


def finished(work: object) -> None:
    """Run a coroutine that waits for nothing; a loop for each of a hundred thousand would take longer than they do."""
    with suppress(StopIteration):
        work.send(None)  # type: ignore[attr-defined]  # a coroutine


async def over_the_wire(stream: Stream, *, reset: bool) -> Ending:
    """How the same bytes end where closing is the end of the body."""
    wire = UpstreamConnection(lambda: 0, "test")
    wire.connection_made(Wired())  # type: ignore[arg-type]  # as much as is used of one
    wire.ask(Request("POST", stream.path), 0)
    wire.sent()
    lines = "".join(f"{name}: {value}\r\n" for name, value in stream.fields)
    wire.data_received(f"HTTP/1.1 200 OK\r\n{lines}Connection: close\r\n\r\n".encode())
    for chunk in stream.chunks[: stream.received]:
        wire.data_received(chunk)
    if reset:
        wire.connection_lost(ConnectionResetError())
    else:
        wire.eof_received()
    return (await wire.play_body(Heard())).ending


class Heard:
    """A listener that does not listen."""

    congested = False
    wants_whole = False

    async def ready(self) -> None:
        """Never congested."""

    async def head(self, head: Head) -> None:
        """Nothing to do."""

    def chunk(self, chunk: Chunk) -> None:
        """Nothing to do."""

    def burst(self, response: Response) -> None:
        """Nothing to do."""

    def leg(self, leg: object) -> None:
        """Nothing to do."""

    async def end(self, end: object) -> None:
        """Nothing to do."""


async def disagreement(seed: int) -> str | None:
    """What one of them says otherwise; None where all agree."""
    stream = made(seed)
    draw = random.Random(seed)
    truth = stream.ended()
    response = recorded(stream, draw)
    said = {
        "recorder": response.ending is Ending.COMPLETE,
        "whole": end_of(stream.path, response).ended,
        "whole, as it was sent": end_of(stream.path, whole(stream)).ended,
    }
    reset = draw.random() < 0.5
    wire = await over_the_wire(stream, reset=reset)
    # Without an event that ends it a stream is cut, unless nobody has said how its kind ends, and it ended with FIN.
    expected = Ending.COMPLETE if truth or not (reset or stream.promises()) else Ending.UPSTREAM_CUT
    wrong = [name for name, verdict in said.items() if verdict != truth]
    if wire is not expected:
        wrong.append(f"connection, {'RST' if reset else 'FIN'}: {wire.name}")
    if not wrong:
        return None
    received = b"".join(stream.chunks[: stream.received])
    return f"seed {seed}: {stream.path} {stream.coding!r} ended={truth}, but {', '.join(wrong)}: …{received[-200:]!r}"


def whole(stream: Stream) -> Response:
    """What was received, in one piece and unmasked."""
    fields: Headers = stream.fields
    body = b"".join(stream.chunks[: stream.received])
    return Response.of(Head(0, 200, fields), [Chunk(1, body)] if body else [], End(2, Ending.CLIENT_LEFT))
