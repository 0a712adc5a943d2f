"""What `net/upstream_connection` takes from httptools without a promise in its documentation: the order of callbacks.

If a test here fails after an update of httptools, read `UpstreamConnection` before anything else.
"""

from __future__ import annotations

import httptools
import pytest


class Callbacks:
    """Notes what the parser calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.parser = httptools.HttpResponseParser(self)

    def on_message_begin(self) -> None:
        """Noted."""
        self.calls.append("begin")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or of the trailer."""
        if name == b"X-Refuse":
            raise ValueError("refused")
        self.calls.append(name.decode())

    def on_headers_complete(self) -> None:
        """The status and the version can be read now."""
        self.calls.append(f"head {self.parser.get_status_code()} {self.parser.get_http_version()}")

    def on_body(self, data: bytes) -> None:
        """Bytes without framing."""
        self.calls.append(data.decode())

    def on_chunk_header(self) -> None:
        """Also of the last chunk."""
        self.calls.append("chunk")

    def on_chunk_complete(self) -> None:
        """Behind the line end of the chunk."""
        self.calls.append("chunk over")

    def on_message_complete(self) -> None:
        """Noted."""
        self.calls.append("over")

    def feed(self, *reads: bytes) -> list[str]:
        """The calls, with a bar at the end of each read."""
        for read in reads:
            self.parser.feed_data(read)
            self.calls.append("|")
        return self.calls


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_chunk_is_over_with_its_line_end_and_not_before() -> None:
    """So one callback tells whether a read ended an HTTP chunk. The last chunk has a header, a trailer has fields."""
    calls = Callbacks().feed(HEAD, b"4\r\nab", b"cd", b"\r\n3\r\nefg\r\n", b"0\r\nX-Sum: 1\r\n\r\n")
    assert " ".join(calls) == (
        "begin Transfer-Encoding head 200 1.1 | chunk ab | cd | chunk over chunk efg chunk over |"
        " chunk X-Sum chunk over over |"
    )


def test_an_interim_answer_is_a_message_of_its_own() -> None:
    """100 Continue is complete before the answer begins."""
    calls = Callbacks().feed(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert " ".join(calls) == "begin head 100 1.1 over | begin Content-Length head 200 1.1 ok over |"


def test_an_upgrade_says_where_the_head_ended() -> None:
    """The bytes behind it belong to the other protocol."""
    data = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nframes"
    with pytest.raises(httptools.HttpParserUpgrade) as upgrade:
        Callbacks().feed(data)
    assert data[upgrade.value.args[0] :] == b"frames"


def test_an_error_of_a_callback_stops_the_parser() -> None:
    """As an error of the parser; no further callback comes, also not with the next read."""
    callbacks = Callbacks()
    for read in (b"HTTP/1.1 200 OK\r\nX-Refuse: 1\r\nX-Next: 1\r\n\r\n", b"body"):
        with pytest.raises(httptools.HttpParserError):
            callbacks.feed(read)
    assert callbacks.calls == ["begin"]


def test_whether_the_connection_stays_open_is_known_with_the_head() -> None:
    """By version and fields."""
    heads = {
        b"HTTP/1.1 200 OK\r\n": True,
        b"HTTP/1.0 200 OK\r\n": False,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n": False,
    }
    found = {}
    for head in heads:
        callbacks = Callbacks()
        callbacks.feed(head + b"Content-Length: 1\r\n\r\n")
        found[head] = callbacks.parser.should_keep_alive()
    assert found == heads
