"""An answer's bytes become the same events at every cut; what must not be passed on ends them with a phrase."""

from __future__ import annotations

import pytest

from replayproxy.model import Headers
from replayproxy.net.answer_parser import AnswerParser, MalformedAnswer


class Told:
    """A `Receiver` that keeps what it gets, the parts of one chunk joined."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self._chunk = b""

    def interim_received(self, status: int) -> None:
        """Keep it."""
        self.log.append(f"interim {status}")

    def head_received(self, status: int, fields: Headers) -> None:
        """Keep it."""
        self.log.append(f"head {status} {dict(fields)}")

    def part_received(self, data: bytes, *, continued: bool) -> None:
        """Keep it when its chunk is whole."""
        self._chunk += data
        if not continued:
            self.log.append(f"chunk {self._chunk!r}")
            self._chunk = b""

    def whole_received(self) -> None:
        """Keep it."""
        self.log.append("whole")

    def surplus_received(self) -> None:
        """Keep it."""
        self.log.append("surplus")

    def switch_received(self, version: str, fields: Headers) -> str:
        """It may switch if it says to what."""
        self.log.append(f"switch in {version}")
        return "" if fields else "it does not say to what"

    def behind_switch_received(self, data: bytes) -> None:
        """Keep it."""
        self.log.append(f"behind {data!r}")


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

DIALOGUES: list[tuple[str, bytes, list[str]]] = [
    (
        "GET",
        CHUNKED + b"2\r\nab\r\n3;x\r\ncde\r\n0\r\nT: x\r\n\r\n",
        ["head 200 {}", "chunk b'ab'", "chunk b'cde'", "whole"],
    ),
    (
        "GET",
        b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
        ["interim 103", "head 200 {'Content-Length': '0'}", "whole"],
    ),
    ("HEAD", OK + b"Content-Length: 5\r\n\r\n", ["head 200 {'Content-Length': '5'}", "whole"]),
    ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", ["head 204 {}", "whole"]),
    ("GET", CHUNKED + b"0\r\n\r\n" + OK, ["head 200 {}", "whole", "surplus"]),
]


@pytest.mark.parametrize(("method", "data", "expected"), DIALOGUES)
def test_an_answer_is_the_same_events_at_every_cut(method: str, data: bytes, expected: list[str]) -> None:
    """Fields of the connection are not passed on, trailers and extensions are dropped, surplus is seen."""
    for size in (1, 2, 7, 1000):
        told = Told()
        parser = AnswerParser(told, method)
        for start in range(0, len(data), size):
            parser.feed(data[start : start + size])
        assert told.log == expected
        assert parser.is_over


def test_a_switch_is_asked_about_and_ends_parsing() -> None:
    """What comes behind its head is not HTTP."""
    told = Told()
    AnswerParser(told, "GET").feed(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x81\x00")
    assert told.log == ["switch in 1.1", "behind b'\\x81\\x00'"]


@pytest.mark.parametrize(
    ("data", "phrase", "log"),
    [
        (b"RTSP/1.0 200 OK\r\n\r\n", "it does not begin with HTTP/", []),
        (b"HTTP/1.1 101 S\r\n\r\n", "it does not say to what", ["switch in 1.1"]),
        (OK + b"Transfer-Encoding: gzip\r\n\r\n", "a Transfer-Encoding other than chunked", []),
        (CHUNKED + b"2\r\nab\r\nx", "chunk size", ["head 200 {}", "chunk b'ab'"]),
        (CHUNKED + b"2\r\nabc", "chunk", ["head 200 {}"]),
    ],
)
def test_what_must_not_be_passed_on_is_a_fault(data: bytes, phrase: str, log: list[str]) -> None:
    """What came before it was received."""
    told = Told()
    with pytest.raises(MalformedAnswer, match=f"(?i){phrase}"):
        AnswerParser(told, "GET").feed(data)
    assert told.log == log
