"""Cassettes made of pieces for the tests of the reading verbs, and ways to read them.

    with writing(path) as keep:         keep(chat("hello", words=["Hi", " there"], at=…))
    code, out, err = read("ls", path)   in this process, as into a pipe
    watch(120, "ls", path)              in this process, as on a terminal so wide
    on_terminal(120, "ls", path)        on a real one, through the console script

Times are in ms since the request was complete; wall time counts from `DAY`.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from replayproxy.cassette.writer import CassetteWriter
from replayproxy.cli.main import main
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.model import Chunk, Chunks, End, Ending, Head, Headers, Leg, Request, Response, Timeline
from replayproxy.ports import ExchangePart
from tests.forked import Forked
from tests.processes import environment
from tests.recordings import MATCHER

MS = 1_000_000
DAY = 1_795_000_000_000 * MS
"""2026-11-18 11:06:40 UTC, in ns."""

STREAM: Headers = (("Content-Type", "text/event-stream"),)
JSON: Headers = (("Content-Type", "application/json"),)

_tapes = count()


def event(value: object) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


def delta(text: str, choice: int = 0) -> bytes:
    """A token of a chat."""
    return event({"object": "chat.completion.chunk", "choices": [{"index": choice, "delta": {"content": text}}]})


def asked(prompt: str, *, model: str = "tiny", path: str = "/v1/chat/completions", **parameters: Any) -> Request:
    """A chat request."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": True, **parameters}
    return Request("POST", path, JSON, orjson.dumps(body))


def chat(
    prompt: str = "hello",
    *,
    words: Sequence[str] = ("Hi", " there", "!"),
    at: Sequence[float] = (),
    model: str = "tiny",
    started: float = 0,
    usage: tuple[int, int] | None = (10, 3),
    ending: Ending = Ending.COMPLETE,
    **parameters: Any,
) -> ExchangePart:
    """A streamed chat: a chunk a word at these times (from 100 ms, every 20 ms), then finish, usage and [DONE]."""
    times = list(at or (100 + 20 * place for place in range(len(words))))
    chunks = [Chunk(round(time * MS), delta(word)) for time, word in zip(times, words, strict=True)]
    last = chunks[-1].at if chunks else 0
    if ending is Ending.COMPLETE:
        end: list[bytes] = [event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})]
        if usage is not None:
            counted = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
            end.append(event({"choices": [], "usage": counted}))
        chunks.append(Chunk(last + MS, b"".join([*end, b"data: [DONE]\n\n"])))
        last += MS
    head = Head(round(times[0] * MS), 200, STREAM) if chunks else None
    return piece(asked(prompt, model=model, **parameters), head, chunks, last, ending=ending, started=started)


def answer(
    request: Request, body: bytes, *, status: int = 200, fields: Headers = JSON, took: float = 5, started: float = 0
) -> ExchangePart:
    """An answer in one chunk."""
    at = round(took * MS)
    chunks = [Chunk(at, body)] if body else []
    return piece(request, Head(at, status, fields), chunks, at, started=started)


def piece(
    request: Request,
    head: Head | None,
    chunks: Sequence[Chunk],
    end: int,
    *,
    ending: Ending = Ending.COMPLETE,
    started: float = 0,
) -> ExchangePart:
    """A whole tape in one piece."""
    return ExchangePart(next(_tapes), request, DAY + round(started * MS), head, Chunks.of(chunks), End(end, ending))


def in_flight(whole: ExchangePart) -> ExchangePart:
    """The same tape while it is recorded."""
    return replace(whole, end=None)


def pair(whole: ExchangePart) -> ExchangePart:
    """The same exchange as a prefill/decode pair answered it."""
    prefill = Response(200, JSON, b"{}", (2,), Timeline(30 * MS, (30 * MS,), 30 * MS))
    decode = Response.of(
        whole.head, [chunk._replace(at=chunk.at - 35 * MS) for chunk in whole.chunks], End(90 * MS, Ending.COMPLETE)
    )
    legs = (
        Leg("prefill", "http://p:8000", whole.request, prefill, started=2 * MS),
        Leg("decode", "http://d:8000", whole.request, decode, started=35 * MS),
    )
    return replace(whole, legs=legs)


@contextmanager
def writing(path: Path, rules: MatchRules | None = None, *, sealed: bool = True) -> Iterator[Callable[..., None]]:
    """A new cassette; call what is given with the pieces for it. Unsealed, it is as a killed recorder leaves it."""
    keeper = CassetteWriter(path, Matcher(rules or MatchRules(), MATCHER.redactor))

    def keep(*pieces: ExchangePart) -> None:
        keeper.begin()
        for one in pieces:
            keeper.keep(one)
        keeper.commit()

    yield keep
    if sealed:
        keeper.seal()
    else:
        keeper.close()


class Ran(NamedTuple):
    """What a verb did."""

    code: int
    out: str
    err: str


Read = Callable[..., Ran]


def reader(capsys: pytest.CaptureFixture[str]) -> Read:
    """Runs the console script's own function; stdout is a pipe to it."""

    def read(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Ran(int(ended.value.code or 0), out, err)

    return read


class _Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    def __init__(self) -> None:
        self._said = io.BytesIO()
        super().__init__(self._said, "utf-8", write_through=True)

    def isatty(self) -> bool:
        return True

    @property
    def said(self) -> str:
        """What was written to it."""
        return self._said.getvalue().decode()


Watch = Callable[..., tuple[int, str]]


def watcher(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Runs the console script's own function in a pretended terminal: `watch(120, "ls", path)`; colours and all."""

    def watch(columns: int, *arguments: str | Path, **variables: str) -> tuple[int, str]:
        terminal = _Terminal()
        with monkeypatch.context() as pretended:
            pretended.delenv("NO_COLOR", raising=False)
            for name, value in {"TERM": "xterm-256color", "COLUMNS": str(columns), **variables}.items():
                pretended.setenv(name, value)
            pretended.setattr(sys, "stdout", terminal)
            pretended.setattr(sys, "stderr", terminal)
            with pytest.raises(SystemExit) as ended:
                main([str(argument) for argument in arguments])
        return int(ended.value.code or 0), terminal.said

    return watch


def on_terminal(columns: int, *arguments: str | Path, **variables: str) -> tuple[int, str]:
    """What a terminal so wide gets, stdout and stderr as they come, and the exit code."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    known = {name: value for name, value in environment().items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    process = Forked(
        arguments, stdin=theirs, stdout=theirs, stderr=theirs, env={**known, "TERM": "xterm-256color", **variables}
    )
    os.close(theirs)
    said = b"".join(_until_it_ends(ours))
    os.close(ours)
    return process.wait(), said.decode().replace("\r\n", "\n")


def _until_it_ends(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # EIO: nobody has the other side open any more
            return
        if not data:
            return
        yield data
