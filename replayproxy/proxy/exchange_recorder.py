"""Record one exchange while it runs: keep each chunk that is received, and hand them to the sink in parts.

    chunk ──▶ body, cuts, times ──▶ stream redactor ──▶ ExchangePart ──▶ RecordingSink     once a second, and at the end

Synchronous where it matters: if the handler is cancelled, what was received is kept all the same, marked by how it
ended. Knows no disk. The parts contain no secrets; the credentials of the client do not leave this file.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from enum import Enum, auto
from types import TracebackType
from typing import Protocol, Self

from replayproxy.core import headers
from replayproxy.core.coding import is_coded
from replayproxy.core.dialects.stream_end import StreamEnd, end_of
from replayproxy.core.headers import StoredFields, is_event_stream
from replayproxy.core.identity.rules import SHORT
from replayproxy.core.preparing import HEAVY, carry_prepared, finish_answer
from replayproxy.core.redaction import Redactor
from replayproxy.errors import ClientError, UpstreamError, UpstreamTimeout
from replayproxy.model import Chunk, Chunks, End, Ending, Head, Key, Leg, Request, Response
from replayproxy.ports import Clock, ExchangePart, RecordingSink, Upload, Worker
from replayproxy.proxy.counters import Counters
from replayproxy.proxy.starvation import Starvation

PIECE_BYTES = 64 * 1024

UPLOAD_BLOCK = 64 * 1024
"""Bytes up to which parts of an upload are kept together."""

SHORT_CODED, HEAVY_CODED = 1024, 16 * 1024
"""Bytes of an answer in a content coding, which may unpack to a thousand times as many."""

log = logging.getLogger("replayproxy.recorder")


class Owner(Protocol):
    """The recorder that an exchange belongs to, as far as the exchange uses it."""

    sink: RecordingSink
    clock: Clock
    counters: Counters
    redactor: Redactor
    blocks: bool
    """The disk may slow traffic down (`--on-full block`)."""
    compared: frozenset[str]
    fields: StoredFields
    max_body: int
    worker: Worker
    starvation: Starvation
    stopping: bool

    def next_recorded_at(self) -> int:
        """Return the time in ns since the Unix epoch, never the same twice."""
        ...

    def schedule_flush(self, exchange: ExchangeRecorder) -> None:
        """Flush this exchange within a second."""
        ...

    def has_ended(self, exchange: ExchangeRecorder) -> None:
        """Do not flush it any more: it hands over the rest itself."""
        ...

    def is_prepared(self, request: Request) -> bool:
        """Return whether the key and the masks of a request are there, or take less than a few ms."""
        ...

    async def prepare(self, request: Request) -> None:
        """Derive them in a thread or in the worker process."""
        ...

    def keep_later(self, work: Coroutine[None, None, None], key: Key | None, size: int) -> bool:
        """Run this as a task. Return False, without running it, if too many bytes are pending already."""
        ...


class _Uploaded(Enum):
    """How much of a request's body has been read."""

    NOT_BEGUN = auto()
    IN_PART = auto()
    WHOLE = auto()


class ExchangeRecorder:
    """A `Listener` and context manager. When its block ends, what was received so far is kept, however it ended."""

    wants_whole = True

    def __init__(self, recorder: Owner, number: int, request: Request, scope: str, key: Key | None) -> None:
        self._recorder = recorder
        self._number = number
        self._redactor = recorder.redactor
        self._request = request
        credentials = self._redactor.credentials(request)
        self._stream_redactor = self._redactor.stream_redactor(credentials)
        self._scope = self._redactor.text(scope, credentials) if scope else ""
        self._key = key
        self._recorded_at = recorder.next_recorded_at()
        self._started = recorder.clock.now()
        self._uploaded: list[bytearray] = []
        self._uploaded_size = 0
        self._preparing: asyncio.Task[None] | None = None
        self._upload = _Uploaded.WHOLE
        self._stored: Request | None = None
        self._head: Head | None = None
        self._left_out: tuple[str, ...] = ()
        self._body = bytearray()
        self._cuts: list[int] = []
        self._continued: list[int] = []
        self._times: list[int] = []
        self._stream_end: StreamEnd | None = None
        self._end: End | None = None
        self._lost = False
        self._legs: tuple[Leg, ...] = ()
        self._unmasked_legs: list[tuple[Leg, Request, Response]] = []
        self._coded = False
        self._client_left = False
        self._starved = 0
        self.stalled = 0

    def __enter__(self) -> Self:
        self._recorder.schedule_flush(self)
        self._in_flight = self._recorder.starvation.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._recorder.has_ended(self)
        self._starved = self._recorder.starvation.end(self._in_flight)
        # A handler is cancelled when its client leaves, and when we stop; the answer may be whole all the same.
        self._client_left = isinstance(error, asyncio.CancelledError) and not self._recorder.stopping
        if self._end is None:
            self._end = End(self._recorder.clock.now() - self._started, self._ending_by(error))
        self._recorder.counters.endings[self._end.ending.name.lower()] += 1
        self._keep()

    def _ending_by(self, error: BaseException | None) -> Ending:
        if isinstance(error, UpstreamTimeout):
            return Ending.TIMEOUT
        if isinstance(error, UpstreamError):
            return Ending.UPSTREAM_CUT
        if error is not None and not isinstance(error, asyncio.CancelledError | ClientError):
            return Ending.PROXY_CRASHED  # our own fault
        # Some clients hang up at the last event and do not wait for the last-chunk: the answer was complete.
        if self._stream_end is not None:
            self._stream_end.feed(bytes(self._body))
            if self._stream_end.ended:
                return Ending.COMPLETE
        return Ending.PROXY_STOPPED if self._recorder.stopping else Ending.CLIENT_LEFT

    # Hearing

    def recording_upload(self, upload: Upload) -> AsyncIterator[bytes]:
        """Pass an upload on, and keep it as the request's body, as far as it was read."""
        self._upload = _Uploaded.NOT_BEGUN
        return self._recording_upload(upload)

    async def _recording_upload(self, upload: Upload) -> AsyncIterator[bytes]:
        self._upload = _Uploaded.IN_PART
        room = self._recorder.max_body
        async for part in upload:
            if room > 0:
                kept = part if len(part) <= room else part[:room]
                # A body that arrives two bytes at a time would else take twenty times its size.
                if self._uploaded and len(self._uploaded[-1]) < UPLOAD_BLOCK:
                    self._uploaded[-1] += kept
                else:
                    self._uploaded.append(bytearray(kept))
                self._uploaded_size += len(kept)
            if 0 <= room < len(part):
                self._recorder.counters.uploads_cut += 1
            room -= len(part)
            yield part
        if room >= 0:  # else what is kept is the beginning, and no request can be compared with it
            self._upload = _Uploaded.WHOLE
        self.begin()

    def begin(self) -> None:
        """The request is complete only now: times count from here, unless the answer has begun."""
        self._recorded_at = self._recorder.next_recorded_at()
        if self._head is None:
            self._started = self._recorder.clock.now()

    @property
    def congested(self) -> bool:
        """Only `--on-full block` lets the disk slow traffic down."""
        return self._recorder.blocks and self._recorder.sink.full

    async def ready(self) -> None:
        """Wait for the disk. Before the end this is a stall: times recorded from here on are not the server's own."""
        if self._end is None:
            self.stalled += 1
            self._recorder.counters.stalled += 1
        await self._recorder.sink.room()

    async def head(self, head: Head) -> None:
        """Keep status and the field lines that may be kept."""
        if is_event_stream(head.headers):
            self._stream_end = StreamEnd(self._request.path, head.headers)
        fields = self._recorder.fields
        self._left_out = fields.left_out(head.headers)
        self._coded = is_coded(head.headers)
        masked = self._stream_redactor.head(head)
        self._head = masked._replace(headers=fields.of_answer(masked.headers))

    def chunk(self, chunk: Chunk) -> None:
        """Keep a chunk."""
        at, data, continued, _ = chunk
        self._body += data
        if continued:
            self._continued.append(len(self._cuts))
        self._cuts.append(len(data))
        self._times.append(at)
        if len(self._body) >= PIECE_BYTES:
            self.flush()

    def burst(self, response: Response) -> None:
        """Keep many."""
        self._body += response.body
        self._continued += [len(self._cuts) + index for index in response.continued]
        self._cuts += response.cuts
        self._times += response.timeline.chunks

    def leg(self, leg: Leg) -> None:
        """Keep a leg, in the order in which they began, with the field lines that may be kept."""
        leg_request, leg_response = leg.request, leg.response
        fields = self._recorder.fields
        leg_request = replace(leg_request, headers=fields.of_request(leg_request.headers, self._recorder.compared))
        ending = self._ending_of_leg(leg)
        leg_response = replace(leg_response, headers=fields.of_answer(leg_response.headers), ending=ending)
        self._unmasked_legs.append((leg, leg_request, leg_response))

    def _mask_legs(self) -> None:
        for leg, leg_request, leg_response in self._unmasked_legs:
            credentials = self._redactor.credentials(self._request, leg.request, answered=leg.response.headers)
            request, response = (
                self._redactor.request(leg_request, credentials),
                self._redactor.response(leg_response, credentials),
            )
            self._legs = (*self._legs, replace(leg, request=request, response=response))
        self._unmasked_legs.clear()
        self._legs = tuple(sorted(self._legs, key=lambda one: one.started))

    def _ending_of_leg(self, leg: Leg) -> Ending:
        """As `_ending_by` says of the whole: a leg is given up where the client leaves, and where we stop."""
        leg_response = leg.response
        if leg_response.ending is not Ending.CLIENT_LEFT:
            return leg_response.ending
        if is_event_stream(leg_response.headers) and end_of(leg.request.path, leg_response).ended:
            return Ending.COMPLETE
        return Ending.PROXY_STOPPED if self._recorder.stopping else Ending.CLIENT_LEFT

    async def end(self, end: End) -> None:
        """Keep how it ended."""
        self._end = end

    # Letting go

    def flush(self) -> None:
        """Hand over what was received since the last time, unless traffic waits for the sink."""
        if not self._cuts or self._end is not None or self.congested:
            return
        if decided := self._decided(self._take_received()):
            self._hand_over(self._head, decided)

    def _take_received(self) -> Chunks:
        """Return what was received since the last time."""
        received = Chunks(bytes(self._body), self._cuts, self._times, self._continued)
        if self._stream_end is not None and self._end is None:
            self._stream_end.feed(received.body)
        self._body.clear()
        self._cuts, self._times, self._continued = [], [], []
        return received

    def _decided(self, received: Chunks) -> Chunks:
        """What may be kept by now."""
        if self._lost:
            return Chunks()
        self._stream_redactor.feed(received)
        if not self._is_prepared():
            return Chunks()
        if self._upload is _Uploaded.IN_PART:  # the request that stands before them may have been cut within a secret
            return Chunks()
        decided = self._stream_redactor.decide()
        if self._stream_redactor.too_long:
            self._lose("too long to look for secrets")
        return decided

    def _keep(self) -> None:
        """Hand over all that is left: now, or when what takes long has been done aside."""
        received = self._take_received()
        if self._lost:
            return
        self._stream_redactor.feed(received)
        size = self._size
        if size <= (SHORT_CODED if self._coded else SHORT) and self._is_prepared(start=False):
            self._mask_legs()
            self._hand_over_rest(*finish_answer(self._stream_redactor, self._head))
        elif not self._recorder.keep_later(self._keep_aside(), self._key, size):
            self._lose("queue full")

    @property
    def _size(self) -> int:
        """Bytes that are to be looked at when it has ended."""
        legs = sum(
            len(leg_request.body) + len(leg_response.body) for _, leg_request, leg_response in self._unmasked_legs
        )
        return self._stream_redactor.undecided_bytes + self._uploaded_size + legs

    async def _keep_aside(self) -> None:
        """Whatever fails here costs this recording, and nothing else."""
        try:
            if self._preparing is not None:
                await self._preparing
            elif not self._is_prepared(start=False):
                await self._prepare()
            if self._unmasked_legs:
                await asyncio.to_thread(self._mask_legs)
            heavy = self._stream_redactor.undecided_bytes > (HEAVY_CODED if self._coded else HEAVY)
            run = self._recorder.worker.run if heavy else asyncio.to_thread
            rest = await run(finish_answer, self._stream_redactor, self._head)
        except Exception:
            log.exception("an exchange could not be masked, and is not recorded: please report this")
            self._lose("failed")
            return
        self._hand_over_rest(*rest)

    def _hand_over_rest(self, head: Head | None, chunks: Chunks, too_long: bool) -> None:
        if too_long and not self._lost:
            self._lose("too long to look for secrets")
        self._hand_over(head, chunks)

    def _is_prepared(self, *, start: bool = True) -> bool:
        """Whether the request can be handed over at once. If not, begin with what that takes."""
        arrives = self._upload is _Uploaded.IN_PART and self._end is None
        if self._uploaded and not arrives and self._uploaded_size <= SHORT:
            self._join_upload()
        if not self._uploaded and self._recorder.is_prepared(self._request):
            return True
        if start and self._preparing is None and not arrives:
            self._preparing = asyncio.create_task(self._prepare())
        return False

    async def _prepare(self) -> None:
        await asyncio.to_thread(self._join_upload)
        await self._recorder.prepare(self._request)

    def _join_upload(self) -> None:
        if self._uploaded:
            self._request = replace(self._request, body=b"".join([self._request.body, *self._uploaded]))
            self._uploaded.clear()
            self._uploaded_size = 0
            self._stored = None

    def _hand_over(self, head: Head | None, chunks: Chunks) -> None:
        if self._lost:
            return
        self._join_upload()
        if self._stored is None:
            self._stored = self._without_secrets(self._request)
        part = ExchangePart(
            number=self._number,
            request=self._stored,
            recorded_at=self._recorded_at,
            head=head,
            chunks=chunks,
            end=self._end,
            key=self._key,
            scope=self._scope,
            stalled=self.stalled,
            legs=self._legs,
            starved=self._starved,
            client_left=self._client_left,
            left_out=self._left_out if self._end is not None else (),
            request_cut=self._end is not None and self._upload is not _Uploaded.WHOLE and not self._unsent,
        )
        if not self._recorder.sink.keep(part):
            self._lose("queue full")

    def _without_secrets(self, request: Request) -> Request:
        """As a cassette may hold it."""
        request = self._redactor.request(request)
        stored = self._recorder.fields.of_request(request.headers, self._recorder.compared)
        if self._unsent:  # the field is what tells such a request from one that has no body
            stored = (*headers.without(stored, "expect"), ("Expect", "100-continue"))
        kept = replace(request, headers=stored)
        self._redactor.mark_masked(kept)
        carry_prepared(self._request, kept)
        return kept

    @property
    def _unsent(self) -> bool:
        """Whether the client kept its body, because the server answered instead of asking for it."""
        expects = headers.get(self._request.headers, "expect") is not None
        return self._upload is _Uploaded.NOT_BEGUN and expects and self._head is not None

    def _lose(self, reason: str) -> None:
        self._lost = True
        self._recorder.sink.drop(self._number, reason)
