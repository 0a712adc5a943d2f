"""What a client gets when no recording answers, and what is kept of it to explain.

A miss is a 404 in OpenAI's error envelope with `x-should-retry: false`: the SDKs retry 408, 409, 429 and 5xx, and each
miss would count three times. Never an empty 200, never somebody else's answer.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import count
from typing import Any

from replayproxy.core.openai import error_body
from replayproxy.model import Ending, Headers, Key, Request, Response, Timeline

KEPT = 1000
"""Causes that are remembered; the same request again is the same cause."""


@dataclass(frozen=True, slots=True)
class Miss:
    """A request without an answer. `code` is one of `no_match`, `exhausted`, `incomplete_only`, `unsupported`."""

    code: str
    request: Request
    key: Key
    scope: str = ""
    recorded: int = 0
    asked: int = 0

    @property
    def sentence(self) -> str:
        """What happened and what to do now."""
        what = f"{self.request.method} {self.request.path}"
        match self.code:
            case "exhausted":
                return (
                    f"{what} was recorded {_times(self.recorded)} and is asked for the {_ordinal(self.asked)} time"
                    f"{' in scope ' + self.scope if self.scope else ''}: record it again, or replay with --at-end cycle"
                    " or last."
                )
            case "incomplete_only":
                return (
                    f"{what} was recorded {_times(self.recorded)}, but the stream had broken: record it again, or"
                    " replay with --allow-incomplete to get it with its break."
                )
            case "unsupported":
                return (
                    f"{what} asks for another protocol than HTTP, which is not recorded: forward it to a live server."
                )
            case _:
                return (
                    f"no recording matches this {what} (key {self.key}): record it, or replay with --on-miss forward or"
                    " record and an --upstream."
                )

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "code": self.code,
            "method": self.request.method,
            "path": self.request.path,
            "key": self.key,
            "scope": self.scope,
            "recorded": self.recorded,
            "asked": self.asked,
            "sentence": self.sentence,
        }


class Misses:
    """Remembers misses by cause, numbers them, and answers."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self.causes: OrderedDict[tuple[str, Key], tuple[str, Miss, int]] = OrderedDict()

    def note(self, miss: Miss) -> str:
        """Count a miss. Gives the number of its cause, which the client is told."""
        cause = (miss.code, miss.key)
        if cause not in self.causes:
            self.causes[cause] = (f"m-{next(self._numbers):04}", miss, 0)
        name, _, times = self.causes[cause]
        self.causes[cause] = (name, miss, times + 1)
        if len(self.causes) > KEPT:
            self.causes.popitem(last=False)
        return name

    def explain(self, miss: Miss) -> Response:
        """The answer to a client whose request has none; the miss is noted."""
        name = self.note(miss)
        return own_response(
            404,
            error_body(f"replayproxy: {miss.sentence}", type="replay_miss", code=miss.code),
            ("X-Replayproxy-Miss", name),
            ("X-Replayproxy-Error", miss.code),
            ("X-Should-Retry", "false"),
        )


def probed(request: Request) -> Response:
    """An answer for the server that is not there, in the shape vLLM gives."""
    match request.path:
        case "/load":
            return own_response(200, b'{"server_load":0}')
        case "/version":
            return own_response(200, b'{"version":"replayproxy"}')
        case "/metrics":
            return own_response(200, b"", media="text/plain; version=0.0.4; charset=utf-8")
        case _:
            return own_response(200, b"", media=None)


def own_response(status: int, body: bytes, *more: tuple[str, str], media: str | None = "application/json") -> Response:
    """A response of our own making, all of it at once."""
    fields: Headers = (("Content-Length", str(len(body))), *more)
    if media is not None:
        fields = (("Content-Type", media), *fields)
    cuts = (len(body),) if body else ()
    return Response(status, fields, body, cuts, Timeline(0, (0,) * len(cuts), 0), Ending.COMPLETE)


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def _ordinal(number: int) -> str:
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
