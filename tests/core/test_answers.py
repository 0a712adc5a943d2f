"""An answer that a strict client would refuse, or that frames what follows otherwise than we do, has a fault."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.core.answers import fault_in_answer, fault_in_head, length_in
from replayproxy.model import Ending, Headers, Response, Timeline

BODY = b"{}"
JSON = ("Content-Type", "application/json")


def answer(
    *fields: tuple[str, str], status: int = 200, body: bytes = BODY, ending: Ending = Ending.COMPLETE
) -> Response:
    """An answer in one chunk."""
    cuts = (len(body),) if body else ()
    return Response(status, fields, body, cuts, Timeline(1, (2,) * len(cuts), 3), ending)


FAULTY: list[tuple[str, str, Response]] = [
    *((f"status {status}", "POST", answer(JSON, status=status)) for status in (-5, 0, 1, 99, 100, 101, 199)),
    *((f"status {status}", "POST", answer(JSON, status=status)) for status in (600, 999, 99999, 2**70)),
    *(
        (f"name {name!r}", "POST", answer((name, "x")))
        for name in ("", "a b", "a:b", "a\r\nb", "a\x00", "é", "\u0394", "a\t", " a", "a(", "a\n", "[a]")
    ),
    *(
        (f"value {value!r}", "POST", answer(("A", value)))
        for value in (
            "a\rb",
            "a\nb",
            "a\r\nB: c",
            "\x00",
            "a\x1b[2Jb",
            "\x7f",
            "\x0b",
            "\x0c",
            "\u20ac",
            "\ud800",
            "a\n",
        )
    ),
    *(
        (name, "POST", answer((name, "x")))
        for name in ("Connection", "KEEP-ALIVE", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "Trailer", "TE")
    ),
    ("two codings", "POST", answer(("Transfer-Encoding", "chunked"), ("transfer-encoding", "chunked"))),
    *(
        (f"length {value!r}", "POST", answer(("Content-Length", value)))
        for value in ("", "1", "3", "+2", "-2", "2, 2", "0x2", "2.0", "1_0", "²", "two", "2 2", "9" * 30, str(2**63))
    ),
    ("two lengths", "POST", answer(("Content-Length", "2"), ("content-length", "2"))),
    ("two lengths that differ", "GET", answer(("Content-Length", "2"), ("content-length", "3"))),
    ("a body for HEAD", "HEAD", answer(("Content-Length", "2"))),
    ("a body in 204", "POST", answer(status=204)),
    ("a body in 304", "GET", answer(status=304)),
    ("a length in 204", "POST", answer(("Content-Length", "2"), status=204, body=b"")),
    ("longer than its length, and cut", "POST", answer(("Content-Length", "1"), ending=Ending.UPSTREAM_CUT)),
    ("a body without a head", "POST", answer(status=0, ending=Ending.UPSTREAM_CUT)),
]


@pytest.mark.parametrize(("method", "response"), [row[1:] for row in FAULTY], ids=[ascii(row[0]) for row in FAULTY])
def test_what_would_split_answers_or_confuse_a_client_has_a_fault(method: str, response: Response) -> None:
    """The fault is a phrase that holds nothing which a terminal or a log would act upon."""
    fault = fault_in_answer(method, response)
    assert fault is not None
    assert fault.isascii()
    assert fault.isprintable()


SOUND: list[tuple[str, str, Response]] = [
    ("no fields", "POST", answer()),
    ("its length", "POST", answer(JSON, ("Content-Length", "2"))),
    ("its length, padded", "POST", answer(("Content-Length", " 2 "))),
    ("cut before its length", "POST", answer(("Content-Length", "9"), ending=Ending.UPSTREAM_CUT)),
    ("cut before its head", "POST", answer(status=0, body=b"", ending=Ending.TIMEOUT)),
    ("HEAD with the length of GET", "HEAD", answer(("Content-Length", "9"), body=b"")),
    ("304 with the length of 200", "GET", answer(("Content-Length", "9"), status=304, body=b"")),
    ("204 with a length of nothing", "GET", answer(("Content-Length", "0"), status=204, body=b"")),
    ("latin-1 and tabs", "POST", answer(("X-Request-Id", "é\x80\xff\tb"), ("x-y!#$%&'*+.^_`|~", ""))),
    ("a repeated field", "POST", answer(("Set-Cookie", "a"), ("Set-Cookie", "b"))),
    ("599", "POST", answer(status=599)),
]


@pytest.mark.parametrize(("method", "response"), [row[1:] for row in SOUND], ids=[row[0] for row in SOUND])
def test_what_servers_send_has_no_fault(method: str, response: Response) -> None:
    """Nothing that RFC 9110 allows is refused."""
    assert fault_in_answer(method, response) is None


text = st.text(st.characters(max_codepoint=300), max_size=12)
names = st.one_of(st.sampled_from(["Content-Type", "Content-Length", "X-A", "Connection", "transfer-encoding"]), text)


@given(status=st.integers(-5, 700), fields=st.lists(st.tuples(names, st.one_of(st.just("2"), text)), max_size=3))
def test_a_strict_client_takes_every_head_that_has_no_fault(status: int, fields: list[tuple[str, str]]) -> None:
    """h11 reads the same status and fields, and nothing behind them: no field hides another one."""
    headers: Headers = tuple(fields)
    if fault_in_head(status, headers) is not None:
        return
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="HEAD", target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    lines = [f"HTTP/1.1 {status} ", *(f"{name}: {value}" for name, value in headers), "", ""]
    client.receive_data("\r\n".join(lines).encode("latin-1"))
    head = client.next_event()
    assert isinstance(head, h11.Response)
    assert head.status_code == status
    expected = [(name.lower().encode(), value.strip(" \t").encode("latin-1")) for name, value in headers]
    assert list(head.headers) == expected
    assert isinstance(client.next_event(), h11.EndOfMessage)
    assert client.trailing_data == (b"", False)


@pytest.mark.parametrize(("value", "length"), [("0", 0), (" 7\t", 7), (str(2**63 - 1), 2**63 - 1), ("٣", None)])
def test_a_length_is_decimal_digits(value: str, length: int | None) -> None:
    """Python's `int` takes more than RFC 9110 does."""
    assert length_in(value) == length
