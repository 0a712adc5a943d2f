"""A `Source` that answers every request itself: finds the endpoint, lets the engine generate, plays what comes.

play ──▶ Routes ──▶ Response                    played at once
                └─▶ Generation ──▶ Engine ──▶ frames at their times, or the whole answer at the end
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from hmac import compare_digest
from typing import Any

import orjson

from replayproxy.core.coding import body_of
from replayproxy.errors import ClientError
from replayproxy.model import Chunk, End, Ending, Head, Headers, Request, Response, Timeline
from replayproxy.ports import Clock, Listener, Upload
from replayproxy.simulator import chat, completions, embeddings, messages, models, responses, server, tokenize
from replayproxy.simulator.context import Context
from replayproxy.simulator.draws import RequestKeys
from replayproxy.simulator.engine import Engine, QueueFull
from replayproxy.simulator.listeners import AdmissionRule, EngineListener
from replayproxy.simulator.options import Simulation
from replayproxy.simulator.routes import EVENT_STREAM, JSON, Answer, ApiError, Call, Generation, Routes
from replayproxy.simulator.sequence import EngineSequence

ENDPOINTS = (models, server, chat, completions, responses, messages, embeddings, tokenize)
"""The modules that have endpoints. To add one is to add a line here."""


class Simulator:
    """Answers as a vLLM would that has these models."""

    def __init__(
        self,
        options: Simulation,
        clock: Clock,
        *,
        listeners: Sequence[EngineListener] = (),
        rules: Sequence[AdmissionRule] = (),
        late: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`late` is called with the ns by which each token was late."""
        self.engine = Engine(
            clock,
            options.latency,
            max_num_seqs=options.max_num_seqs,
            max_waiting=options.max_waiting,
            listeners=listeners,
            rules=rules,
            late=late,
        )
        self.routes = Routes()
        """More endpoints may be added."""
        self.fields: Headers = ()
        """Fields of all answers that are generated."""
        self._clock = clock
        self._keys = RequestKeys(options.seed)
        self._turn = asyncio.Lock()
        self._api_keys = tuple(key.encode() for key in options.api_keys)
        self.context = Context(options, clock)
        for endpoint in ENDPOINTS:
            endpoint.register(self.routes, self.context, self.engine)

    async def play(
        self, request: Request, listener: Listener, upload: Upload | None = None, received_at: int | None = None
    ) -> None:
        """Play the answer to `request`. Times count from `received_at`; from now if it is None."""
        started = self._clock.now() if received_at is None else received_at
        if upload is not None:
            request = Request(
                request.method, request.target, request.headers, b"".join([piece async for piece in upload])
            )
        # To invent an answer takes 0.2 ms. Of 128 requests that come together, those that the loop has not read yet
        # would count their times from after all of that: between two of them it reads what has come.
        async with self._turn:
            await asyncio.sleep(0)
        try:
            answer = self._answer(request)
            if isinstance(answer, Generation):
                answer = replace(answer, headers=(*self.fields, *answer.headers))
                self.engine.accept(answer.sequences, started)
        except ApiError as error:
            answer = error.response()
        except QueueFull:
            answer = ApiError(429, "Failed to enqueue request, waiting requests queue is full").response()
        if isinstance(answer, Response):
            await _play_at_once(answer, listener)
            return
        sink = _StreamSink(answer, listener, started) if answer.streams else _SilentSink()
        if isinstance(sink, _StreamSink):
            await sink.begin()
        await self.engine.run(answer.sequences, sink, started)
        at = max(sequence.last_token_at for sequence in answer.sequences) - started
        if isinstance(sink, _StreamSink):
            await sink.end(at)
            return
        body = answer.writer.whole()
        fields = (("content-length", str(len(body))), *JSON, *answer.headers)
        await _play_at_once(Response(200, fields, body, (len(body),), Timeline(at, (at,), at)), listener)

    def _answer(self, request: Request) -> Answer:
        self._check_key(request)
        endpoint = self.routes.find(request.method, request.path)
        body = _json(request)
        return endpoint(Call(request, body, self._keys.draws(request.method, request.path, body)))

    def _check_key(self, request: Request) -> None:
        """Raise `ApiError` 401 for a request under `/v1` without one of the keys; so does vLLM's `--api-key`."""
        if not self._api_keys or not request.path.startswith("/v1"):
            return
        given = next((value for name, value in request.headers if name.lower() == "authorization"), "")
        scheme, _, key = given.partition(" ")
        if scheme.lower() != "bearer" or not any(compare_digest(key.encode(), valid) for valid in self._api_keys):
            raise ApiError(401, "", document={"error": "Unauthorized"})


def _json(request: Request) -> Any:
    try:
        return orjson.loads(body_of(request))
    except (orjson.JSONDecodeError, ClientError):
        return None


async def _play_at_once(response: Response, listener: Listener) -> None:
    await listener.head(Head(response.timeline.head, response.status, response.headers))
    for chunk in response.chunks():
        listener.chunk(chunk)
    await listener.end(End(response.timeline.end, response.ending))


class _SilentSink:
    """For an answer that is sent when it is whole."""

    congested = False

    def token(self, sequence: EngineSequence, at: int) -> None:
        """Nothing is sent."""

    async def ready(self) -> None:
        """Never waits."""


class _StreamSink:
    """Sends the frames of each token."""

    def __init__(self, generation: Generation, listener: Listener, started: int) -> None:
        self._writer = generation.writer
        self._steps = {
            sequence: answer.steps for sequence, answer in zip(generation.sequences, generation.answers, strict=True)
        }
        self._fields = generation.headers
        self._listener = listener
        self._started = started
        self._has_begun = False

    @property
    def congested(self) -> bool:
        """Whether the client reads too slowly."""
        return self._listener.congested

    async def ready(self) -> None:
        """Wait for the client."""
        await self._listener.ready()

    async def begin(self) -> None:
        """Send the head, at once: vLLM does not wait for a token either."""
        await self._listener.head(Head(0, 200, (*EVENT_STREAM, *self._fields)))
        self._send(self._writer.begin(), 0)

    def token(self, sequence: EngineSequence, at: int) -> None:
        """Send what the token is."""
        since = at - self._started
        if not self._has_begun:
            self._has_begun = True
            self._send(self._writer.first(), since)
        self._send(self._writer.token(sequence, self._steps[sequence][sequence.generated - 1]), since)

    async def end(self, at: int) -> None:
        """Send the rest."""
        if not self._has_begun:
            self._send(self._writer.first(), at)
        self._send(self._writer.end(), at)
        await self._listener.end(End(at, Ending.COMPLETE))

    def _send(self, frames: bytes, at: int) -> None:
        if frames:
            self._listener.chunk(Chunk(at, frames))
