"""One exchange of a cassette, as Python programs look at it: the request, the answer, and when each part of it came.

The columns of its row (`id`, `model`, `status`) are read at once; the rest is unpacked, and checked by its digest, when
it is first used. Times are integer nanoseconds since the request was complete, except `recorded_at`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from replayproxy.model import Chunk, End, Ending, Exchange, Head, Headers, Leg, Request, Response, Timeline

if TYPE_CHECKING:
    from replayproxy.views.port import Browser, ExchangeRow

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Usage:
    """The token counts that the server sent. None: not sent."""

    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One server-sent event. `at`: when the chunk that completed it arrived, in ns since the request was complete."""

    at: int
    name: str
    data: str

    @property
    def json(self) -> Any:
        """The data as a JSON value. Raises `ValueError` where it is not JSON, such as `[DONE]`."""
        return json.loads(self.data)


class RecordedExchange:
    """One request and its answer. The package calls it `replayproxy.Exchange`.

    Made by a `Cassette`, or by `of` to be added to one. Raises `Damaged` where the file is not what was written, and
    `CassetteError` where something is read for the first time after the cassette was closed.
    """

    def __init__(
        self,
        value: Exchange | None = None,
        row: ExchangeRow | None = None,
        browser: Callable[[], Browser] | None = None,
    ) -> None:
        """`browser` returns the reader of the exchange of `row`; without a row there is a value."""
        self._value = value
        self._row = row
        self._browser = browser

    @classmethod
    def of(
        cls,
        method: str,
        target: str,
        body: object = b"",
        *,
        answer: object = b"",
        status: int = 200,
        headers: Iterable[tuple[str, str]] = (("content-type", "application/json"),),
        answer_headers: Iterable[tuple[str, str]] | None = None,
        times: Sequence[float] = (),
        recorded_at: datetime | None = None,
    ) -> RecordedExchange:
        """Make an exchange out of its parts. A body is bytes, text, or a value that becomes JSON.

        A list of bytes or texts as `answer` is a stream, of which each is a chunk.

        `times` are the seconds since the request at which each chunk came; without them all came at once. A stream is
        `text/event-stream` and anything else `application/json`, unless `answer_headers` says so. `recorded_at` is now,
        unless given. Raises `ValueError` for times that do not fit the chunks.
        """
        request = Request(method, target, tuple(headers), _bytes(body))
        streamed = isinstance(answer, list | tuple) and all(isinstance(chunk, bytes | str) for chunk in answer)
        chunks = [_bytes(chunk) for chunk in answer] if streamed else [_bytes(answer)]  # type: ignore[attr-defined]  # a list
        if times and len(times) != len(chunks):
            raise ValueError(f"{len(times)} times for {len(chunks)} chunks: give one for each")
        at = [round(seconds * 1e9) for seconds in times] or [0] * len(chunks)
        if at != sorted(at) or (at and at[0] < 0):
            raise ValueError("times count from the request and never go back")
        kind = "text/event-stream" if streamed else "application/json"
        fields: Headers = (("content-type", kind),) if answer_headers is None else tuple(answer_headers)
        received = [Chunk(when, data) for when, data in zip(at, chunks, strict=True) if data]
        head = Head(at[0] if at else 0, status, fields)
        response = Response.of(head, received, End(at[-1] if at else 0, Ending.COMPLETE))
        return cls(Exchange(request, response, _today() if recorded_at is None else nanoseconds(recorded_at)))

    # What a row knows

    @property
    def id(self) -> str | None:
        """Eight hex digits, as `replayproxy ls` lists it; None for one that is not on a cassette yet."""
        return self._row["id"] if self._row is not None else None

    @property
    def number(self) -> int | None:
        """Its number on the cassette: exchanges are numbered as they end."""
        return self._row["number"] if self._row is not None else None

    @property
    def key(self) -> str | None:
        """What equal requests share."""
        return self._row["key"] if self._row is not None else None

    @property
    def model(self) -> str | None:
        """The model that the request names."""
        return self._row["model"] if self._row is not None else self._facts.model

    @property
    def status(self) -> int:
        """The HTTP status; 0 where the answer ended before its head."""
        return self._row["status"] if self._row is not None else self.response.status

    @property
    def is_complete(self) -> bool:
        """Whether the answer came whole."""
        if self._row is not None:
            return self._row["ending"] == "complete"
        return self.response.ending is Ending.COMPLETE

    @property
    def usage(self) -> Usage | None:
        """The token counts that the server sent, or None."""
        row: Any = self._row
        names = ("prompt_tokens", "completion_tokens", "cached_tokens")
        counts = [row[name] if row is not None else getattr(self._facts, name) for name in names]
        return None if all(count is None for count in counts) else Usage(*counts)

    @property
    def finish_reason(self) -> str | None:
        """Why the model stopped, such as `stop` or `length`."""
        return self._row["finish"] if self._row is not None else self._facts.finish

    @property
    def row(self) -> dict[str, Any]:
        """Everything that is known without unpacking, by the names of `replayproxy ls --json`."""
        return dict(self._row) if self._row is not None else {}

    # What is unpacked

    @cached_property
    def value(self) -> Exchange:
        """The exchange as a plain value."""
        if self._value is not None:
            return self._value
        assert self._browser is not None, "an exchange has a value or comes from a cassette"
        assert self._row is not None, "an exchange of a cassette has a row"
        return self._browser().exchange(self._row["number"])

    @property
    def request(self) -> Request:
        """The client's request: `method`, `target`, `path`, `headers`, `body`."""
        return self.value.request

    @property
    def response(self) -> Response:
        """The answer: `status`, `headers`, `body`, `cuts` (the sizes of its chunks), `timeline`, `ending`."""
        return self.value.response

    @property
    def timeline(self) -> Timeline:
        """When the head, each chunk and the end came, in ns since the request was complete."""
        return self.response.timeline

    @property
    def legs(self) -> tuple[Leg, ...]:
        """What the servers of a prefill/decode pair were asked and answered; empty for one server."""
        return self.value.legs

    @property
    def scope(self) -> str:
        """The scope in which it was recorded; usually empty."""
        return self.value.scope

    @property
    def recorded_at(self) -> datetime:
        """When the request was complete, in UTC, to the microsecond; `value.recorded_at` is in ns."""
        return _EPOCH + timedelta(microseconds=self.value.recorded_at // 1000)

    @cached_property
    def text(self) -> str:
        """The text of the answer, streamed or not, with reasoning and tool calls as they came."""
        from replayproxy.core.dialects.facts import text_of

        return text_of(self.response)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The texts of the choices, where a request asked for several (`n`)."""
        from replayproxy.views.body import texts_of

        return tuple(one.text for one in texts_of(self.response))

    @cached_property
    def events(self) -> tuple[StreamEvent, ...]:
        """The server-sent events of a streamed answer; empty for another one."""
        from replayproxy.core.dialects.facts import events_at
        from replayproxy.core.headers import is_event_stream

        if not is_event_stream(self.response.headers):
            return ()
        return tuple(StreamEvent(at, event.event, event.data) for at, event in events_at(self.response))

    @property
    def json(self) -> Any:
        """The body of the answer as a JSON value. Raises `ValueError` where it is not JSON, a stream for one."""
        from replayproxy.core.coding import decoded

        return json.loads(decoded(self.response))

    @property
    def request_json(self) -> Any:
        """The body of the request as a JSON value. Raises `ValueError` where it is not JSON."""
        from replayproxy.core.coding import body_of

        return json.loads(body_of(self.request))

    @cached_property
    def _facts(self) -> Any:
        from replayproxy.core.dialects.facts import facts_of

        return facts_of(self.request, self.response)

    def __repr__(self) -> str:
        if self._row is not None:
            what = f"{self._row['id']} {self._row['method']} {self._row['path']}"
        else:
            what = f"{self.request.method} {self.request.path}"
        return f"<Exchange {what} {self.status or 'no answer'}>"

    def __eq__(self, other: object) -> bool:
        return self.value == other.value if isinstance(other, RecordedExchange) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.value)


def _today() -> int:
    from replayproxy.net.clock import SystemClock

    clock = SystemClock()
    try:
        return clock.today()
    finally:
        clock.close()


def _bytes(content: object) -> bytes:
    if isinstance(content, bytes):
        return content
    return (content if isinstance(content, str) else json.dumps(content)).encode()


def nanoseconds(moment: datetime) -> int:
    """A time in ns since the Unix epoch. Raises `ValueError` for one without a time zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone: give a datetime with tzinfo, such as UTC")
    since = moment - _EPOCH
    return ((since.days * 86400 + since.seconds) * 10**6 + since.microseconds) * 1000
