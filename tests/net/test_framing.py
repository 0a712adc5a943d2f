"""How messages are framed: what is refused, and what is sent for what was received. Values only; no socket."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.errors import BadAnswer, ClientError
from replayproxy.model import Headers, Request
from replayproxy.net.framing import (
    MAX_FIELDS,
    MAX_HEAD,
    MAX_LINE,
    Framing,
    RequestHead,
    answer_head,
    check_beginning,
    framing_of_answer,
    framing_of_request,
    read_request_head,
    request_head,
)

HOST = b"Host: x\r\n"


def head(line: bytes, *fields: bytes) -> bytes:
    """A head of these lines."""
    return b"\r\n".join([line, *fields, b"", b""])


def read(*fields: bytes, line: bytes = b"POST /v1/x HTTP/1.1") -> RequestHead:
    """A head with a Host field and these."""
    return read_request_head(head(line, b"Host: x", *fields))


# What is refused, with the status that it gets

POST = (b"POST / HTTP/1.1", b"Host: x")
REFUSED: list[tuple[str, bytes, int]] = [
    (
        "both length and coding",
        head(*POST, b"Content-Length: 4", b"Transfer-Encoding: chunked"),
        400,
    ),
    ("two lengths", head(*POST, b"Content-Length: 4", b"Content-Length: 5"), 400),
    ("two equal lengths", head(*POST, b"Content-Length: 4", b"content-length: 4"), 400),
    ("+5", head(*POST, b"Content-Length: +5"), 400),
    ("-5", head(*POST, b"Content-Length: -5"), 400),
    ("5, 5", head(*POST, b"Content-Length: 5, 5"), 400),
    ("0x5", head(*POST, b"Content-Length: 0x5"), 400),
    ("5 5", head(*POST, b"Content-Length: 5 5"), 400),
    ("empty length", head(*POST, b"Content-Length:"), 400),
    ("a length of 2^64", head(*POST, b"Content-Length: 18446744073709551616"), 400),
    ("digits beyond ASCII", head(*POST, b"Content-Length: \xb2"), 400),
    ("gzip, chunked", head(*POST, b"Transfer-Encoding: gzip, chunked"), 400),
    ("chunked, chunked", head(*POST, b"Transfer-Encoding: chunked, chunked"), 400),
    (
        "chunked twice",
        head(*POST, b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        400,
    ),
    ("chunked, identity", head(*POST, b"Transfer-Encoding: chunked, identity"), 400),
    ("identity", head(*POST, b"Transfer-Encoding: identity"), 400),
    ("xchunked", head(*POST, b"Transfer-Encoding: xchunked"), 400),
    ("chunked with a parameter", head(*POST, b"Transfer-Encoding: chunked;a=b"), 400),
    ("empty coding", head(*POST, b"Transfer-Encoding:"), 400),
    ("vertical tab", head(*POST, b"Transfer-Encoding: \x0bchunked"), 400),
    ("coding in HTTP/1.0", head(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked"), 400),
    (
        "coding and length in HTTP/1.0",
        head(b"POST / HTTP/1.0", b"Content-Length: 1", b"Transfer-Encoding: chunked"),
        400,
    ),
    ("space before the colon", head(*POST, b"Transfer-Encoding : chunked"), 400),
    ("tab before the colon", head(*POST, b"Content-Length\t: 5"), 400),
    ("a folded field", head(*POST, b"X-A: 1", b" 2"), 400),
    ("a fold by tab", head(*POST, b"X-A: 1", b"\tContent-Length: 2"), 400),
    ("a fold first", head(b"POST / HTTP/1.1", b" Host: x", b"Host: x"), 400),
    ("no colon", head(*POST, b"X-A"), 400),
    ("no name", head(*POST, b": a"), 400),
    ("NUL in a value", head(*POST, b"X-A: a\0b"), 400),
    ("CR in a value", head(*POST, b"X-A: a\rContent-Length: 5"), 400),
    ("LF in a value", head(*POST, b"X-A: a\nContent-Length: 5"), 400),
    ("DEL in a value", head(*POST, b"X-A: a\x7fb"), 400),
    ("NUL in a name", head(*POST, b"X\0-A: b"), 400),
    ("UTF-8 in a name", head(*POST, "Contént-Length: 5".encode()), 400),
    ("quoted name", head(*POST, b'"Content-Length": 5'), 400),
    ("no Host", head(b"POST / HTTP/1.1"), 400),
    ("two Hosts", head(*POST, b"Host: x"), 400),
    ("Host with a path", head(b"POST / HTTP/1.1", b"Host: a/b@c"), 400),
    ("Host with userinfo", head(b"POST / HTTP/1.1", b"Host: user@x"), 400),
    ("Host with a query", head(b"POST / HTTP/1.1", b"Host: x?a"), 400),
    ("Host with a space", head(b"POST / HTTP/1.1", b"Host: x y"), 400),
    ("two Hosts in one", head(b"POST / HTTP/1.1", b"Host: x, y"), 400),
    ("Host with a port that is none", head(b"POST / HTTP/1.1", b"Host: x:80a"), 400),
    ("Host beyond ASCII", head(b"POST / HTTP/1.1", "Host: é".encode()), 400),
    ("HTTP/2.0", head(b"GET / HTTP/2.0", b"Host: x"), 505),
    ("HTTP/0.9", head(b"GET / HTTP/0.9", b"Host: x"), 505),
    ("HTTP/1.2", head(b"GET / HTTP/1.2", b"Host: x"), 505),
    ("HTTP/3.0", head(b"GET / HTTP/3.0", b"Host: x"), 505),
    ("HTTP/11.1", head(b"GET / HTTP/11.1", b"Host: x"), 400),
    ("HTTP/1.1x", head(b"GET / HTTP/1.1x", b"Host: x"), 400),
    ("HTTP/1", head(b"GET / HTTP/1", b"Host: x"), 400),
    ("http/1.1", head(b"GET / http/1.1", b"Host: x"), 400),
    ("RTSP/1.0", head(b"OPTIONS / RTSP/1.0", b"Host: x"), 400),
    ("ICE/1.0", head(b"SOURCE / ICE/1.0", b"Host: x"), 400),
    ("no version", head(b"GET /"), 400),
    ("no target", head(b"GET HTTP/1.1", b"Host: x"), 400),
    ("two spaces", head(b"GET  / HTTP/1.1", b"Host: x"), 400),
    ("a tab", head(b"GET\t/ HTTP/1.1", b"Host: x"), 400),
    ("a space behind", head(b"GET / HTTP/1.1 ", b"Host: x"), 400),
    ("a space in the target", head(b"GET /a b HTTP/1.1", b"Host: x"), 400),
    ("a control character in the target", head(b"GET /a\x01 HTTP/1.1", b"Host: x"), 400),
    ("a fragment", head(b"GET /a#b HTTP/1.1", b"Host: x"), 400),
    ("a target without slash", head(b"GET a HTTP/1.1", b"Host: x"), 400),
    ("an asterisk with GET", head(b"GET * HTTP/1.1", b"Host: x"), 400),
    ("another scheme", head(b"GET ftp://x/ HTTP/1.1", b"Host: x"), 400),
    ("no host in the target", head(b"GET http:///a HTTP/1.1", b"Host: x"), 400),
    ("userinfo in the target", head(b"GET http://u@x/a HTTP/1.1", b"Host: x"), 400),
    ("get", head(b"get / HTTP/1.1", b"Host: x"), 400),
    ("Post", head(b"Post / HTTP/1.1", b"Host: x", b"Content-Length: 0"), 400),
    ("a method with brackets", head(b"G(T / HTTP/1.1", b"Host: x"), 400),
    ("CONNECT", head(b"CONNECT example.org:443 HTTP/1.1", b"Host: example.org:443"), 405),
    ("another expectation", head(*POST, b"Expect: 200-ok", b"Content-Length: 1"), 417),
    ("too many fields", head(b"GET / HTTP/1.1", b"Host: x", *[b"X-A: 1"] * MAX_FIELDS), 431),
    ("a long field", head(b"GET / HTTP/1.1", b"Host: x", b"X-A: " + b"a" * MAX_LINE), 431),
    ("a long head", head(b"GET / HTTP/1.1", b"Host: x", *[b"X-A: " + b"a" * 60_000] * 5), 431),
    ("a long target", head(b"GET /" + b"a" * MAX_LINE + b" HTTP/1.1", b"Host: x"), 414),
    *(
        (
            f"Connection: {name}",
            head(*POST, b"Connection: " + name.encode(), b"Content-Length: 4"),
            400,
        )
        for name in (
            *("content-length", "Content-Length", "keep-alive, content-length", "transfer-encoding", "host", "Expect"),
            *("connection", "trailer", "te", "close,\thost"),
        )
    ),
]


@pytest.mark.parametrize(("received", "status"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_two_servers_could_read_in_two_ways_is_refused(received: bytes, status: int) -> None:
    """By a `ClientError` with a sentence that quotes nothing of the request."""
    with pytest.raises(ClientError) as caught:
        read_request_head(received)
    assert caught.value.status == status
    assert str(caught.value)


SECRET = b"sk-proj-4f6d2a9c8b7e"

QUOTING: list[bytes] = [
    head(b"GET /?api_key=" + SECRET + b" HTTP/9.9", b"Host: x"),
    head(SECRET + b" / HTTP/1.1", b"Host: x"),
    head(b"GET " + SECRET + b" HTTP/1.1", b"Host: x"),
    head(b"GET ftp://" + SECRET + b"@x HTTP/1.1", b"Host: x"),
    head(b"GET / HTTP/1.1", b"Host: " + SECRET + b"/"),
    head(b"GET / HTTP/1.1", b"Host: x", b"Authorization : Bearer " + SECRET),
    head(b"GET / HTTP/1.1", b"Host: x", b"Authorization: Bearer\0" + SECRET),
    head(b"GET / HTTP/1.1", b"Host: x", SECRET),
    head(b"GET / HTTP/1.1", b"Host: x", b"Content-Length: " + SECRET),
    head(b"GET / HTTP/1.1", b"Host: x", b"Transfer-Encoding: " + SECRET),
    head(b"GET / HTTP/1.1", b"Host: x", b"Expect: " + SECRET),
    head(b"CONNECT " + SECRET + b":443 HTTP/1.1", b"Host: x"),
]


@pytest.mark.parametrize("received", QUOTING)
def test_a_refusal_quotes_nothing_of_the_request(received: bytes) -> None:
    """A key may stand anywhere in a malformed request."""
    for refuse in (read_request_head, lambda data: check_beginning(data[:-4].replace(b"\r\n", b"\n") + b"\n")):
        with pytest.raises(ClientError) as caught:
            refuse(received)
        assert SECRET.decode() not in str(caught.value)


BEGINNINGS: list[tuple[bytes, int]] = [
    (b"\x16\x03\x01\x02\x00", 400),
    (b"\x16", 400),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n", 505),
    (b"PRI * HTTP/2.0\r\n", 505),
    (b"GET / HTTP/1.1\nHost: x\n", 400),
    (b"GET /\r\n", 400),
    (b"GET /\n", 400),
    (b"\x00", 400),
    (b"GET / HTTP/1.1\rHost: x", 400),
    (b"GET / HTTP/2.0\r\nHo", 505),
    (b"hello\r\n", 400),
    (b"GET /" + b"a" * MAX_HEAD, 414),
]


@pytest.mark.parametrize(("received", "status"), BEGINNINGS)
def test_what_will_never_be_a_head_is_refused_at_once(received: bytes, status: int) -> None:
    """At the first byte that tells, however the bytes are cut: nobody waits for the rest."""
    with pytest.raises(ClientError) as caught:
        check_beginning(received)
    assert caught.value.status == status
    assert (
        any(refused(received[:end], end - 1) for end in range(1, 1000) if end <= len(received)) or len(received) > 999
    )


def refused(received: bytes, checked: int) -> bool:
    """Whether the bytes behind those that were checked before tell."""
    try:
        check_beginning(received, checked)
    except ClientError:
        return True
    return False


@pytest.mark.parametrize("whole", [head(b"POST /v1/x HTTP/1.1", b"Host: x", b"X-A: b", b"Content-Length: 12")])
def test_a_head_that_is_still_arriving_is_waited_for(whole: bytes) -> None:
    """At every cut."""
    for end in range(len(whole)):
        check_beginning(whole[:end], max(0, end - 1))


# What is read

JAVA = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEA")
READ: list[tuple[str, RequestHead, Framing, int, bool]] = [
    ("nothing", read(), Framing.NONE, 0, True),
    ("length", read(b"Content-Length: 5"), Framing.LENGTH, 5, True),
    ("a length with zeros", read(b"Content-Length: 0005"), Framing.LENGTH, 5, True),
    ("length 0", read(b"Content-Length: 0"), Framing.NONE, 0, True),
    ("chunked", read(b"Transfer-Encoding: Chunked"), Framing.CHUNKED, 0, True),
    ("white space", read(b"Content-Length:\t 5 \t"), Framing.LENGTH, 5, True),
    ("a body on GET", read(b"Content-Length: 5", line=b"GET / HTTP/1.1"), Framing.LENGTH, 5, True),
    ("a body on HEAD", read(b"Content-Length: 5", line=b"HEAD / HTTP/1.1"), Framing.LENGTH, 5, True),
    ("a body on DELETE", read(b"Transfer-Encoding: chunked", line=b"DELETE / HTTP/1.1"), Framing.CHUNKED, 0, True),
    ("close", read(b"Connection: close"), Framing.NONE, 0, False),
    ("Close among others", read(b"Connection: x, Close"), Framing.NONE, 0, False),
    ("HTTP/1.0", read(line=b"GET / HTTP/1.0"), Framing.NONE, 0, False),
    ("HTTP/1.0 kept", read(b"Connection: Keep-Alive", line=b"GET / HTTP/1.0"), Framing.NONE, 0, True),
    ("TE, as Perl sends it", read(b"TE: deflate,gzip;q=0.3", b"Connection: TE, close"), Framing.NONE, 0, False),
    ("h2c, as Java sends it", read(*JAVA, b"Content-Length: 5"), Framing.LENGTH, 5, True),
    ("upgrade without Upgrade, as behind nginx", read(b"Connection: upgrade"), Framing.NONE, 0, True),
]


@pytest.mark.parametrize(("got", "framing", "length", "kept"), [row[1:] for row in READ], ids=[row[0] for row in READ])
def test_a_head_says_how_its_body_is_delimited(got: RequestHead, framing: Framing, length: int, kept: bool) -> None:
    """And whether the connection may be kept."""
    assert (got.framing, got.length, got.keep_alive) == (framing, length, kept)
    assert not got.websocket


TARGETS = [
    (b"/v1/x?a=b", "/v1/x?a=b", None),
    (b"//evil.example/x", "//evil.example/x", None),
    (b"/\xc3\xbc", "/\xc3\xbc", None),
    (b"http://a:80/v1?x", "/v1?x", "a:80"),
    (b"HTTP://[::1]:80/v1", "/v1", "[::1]:80"),
    (b"https://a", "/", "a"),
    (b"http://a?x=/y", "/?x=/y", "a"),
]


@pytest.mark.parametrize(("target", "path", "authority"), TARGETS)
def test_an_absolute_target_is_its_path_and_its_host(target: bytes, path: str, authority: str | None) -> None:
    """Whether the host is ours is for the server to say."""
    got = read_request_head(head(b"GET " + target + b" HTTP/1.1", b"Host: x"))
    assert (got.request.target, got.authority) == (path, authority)


WEBSOCKET = (b"Upgrade: WebSocket", b"Connection: keep-alive, Upgrade")
NO_WEBSOCKET = [
    (b"GET / HTTP/1.1", WEBSOCKET, True),
    (b"GET / HTTP/1.1", (*WEBSOCKET, b"Content-Length: 0"), True),
    (b"POST / HTTP/1.1", WEBSOCKET, False),
    (b"GET / HTTP/1.0", WEBSOCKET, False),
    (b"GET / HTTP/1.1", (*WEBSOCKET, b"Content-Length: 1"), False),
    (b"GET / HTTP/1.1", (*WEBSOCKET, b"Transfer-Encoding: chunked"), False),
    (b"GET / HTTP/1.1", WEBSOCKET[:1], False),
    (b"GET / HTTP/1.1", (b"Upgrade: h2c", *WEBSOCKET), False),
    (b"GET / HTTP/1.1", (b"Upgrade: h2c, websocket", b"Connection: upgrade"), False),
    (b"GET / HTTP/1.1", (b"Upgrade: TLS/1.2", b"Connection: upgrade"), False),
]


@pytest.mark.parametrize(("line", "fields", "websocket"), NO_WEBSOCKET)
def test_only_a_get_for_a_websocket_without_a_body_is_one(
    line: bytes, fields: tuple[bytes, ...], websocket: bool
) -> None:
    """Every other Upgrade is ignored (RFC 9110 7.8)."""
    assert read(*fields, line=line).websocket == websocket


# What is sent to an upstream, read by somebody strict


def parsed_by_h11(data: bytes) -> tuple[list[h11.Request], bytes]:
    """The requests in these bytes, and their bodies joined."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)
    requests, body = [], b""
    while True:
        event = server.next_event()
        if isinstance(event, h11.Request):
            requests.append(event)
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            server.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            server.send(h11.EndOfMessage())
            if server.our_state is not h11.DONE or server.their_state is not h11.DONE:
                return requests, body
            server.start_next_cycle()
        else:
            return requests, body


ODD_FIELDS: list[Headers] = [
    (),
    (("Content-Length", "3"),),
    (("Transfer-Encoding", "chunked"),),
    (("Content-Length", "3"), ("Connection", "content-length")),
    (("Transfer-Encoding", "chunked"), ("Connection", "transfer-encoding")),
    (("Content-Length", "99"),),
    (("Content-Length", "3"), ("Expect", "100-continue")),
    (("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AA"), ("Content-Length", "3")),
    (("TE", "trailers"), ("Trailer", "X-A"), ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "close")),
]


@pytest.mark.parametrize("fields", ODD_FIELDS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("body", [b"", b"abc", b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_a_request_whose_body_is_there_is_one_request(method: str, fields: Headers, body: bytes) -> None:
    """Whatever its fields say: its length is that of the body, and no field of the connection goes on."""
    sent = request_head(
        Request(method, "/v1/x", (("Host", "client"), *fields), body), authority="server:1", prefix="/p"
    )
    requests, got = parsed_by_h11(sent + body)
    assert [(request.method, request.target) for request in requests] == [(method.encode(), b"/p/v1/x")]
    assert got == body
    names = [name for name, _ in requests[0].headers]
    assert names.count(b"host") == 1
    assert not {b"connection", b"upgrade", b"te", b"trailer", b"keep-alive", b"transfer-encoding"} & set(names)


def test_an_upload_is_framed_as_its_client_announced_it() -> None:
    """By its length, or in chunks; also where Connection names the field."""
    by_length = Request("POST", "/", (("Host", "x"), ("Content-Length", "3"), ("Connection", "content-length")))
    in_chunks = Request("POST", "/", (("Host", "x"), ("Transfer-Encoding", "chunked")))
    assert framing_of_request(by_length, uploading=True) == (Framing.LENGTH, 3)
    assert framing_of_request(in_chunks, uploading=True) == (Framing.CHUNKED, 0)
    for request, body in ((by_length, b"abc"), (in_chunks, b"3\r\nabc\r\n0\r\n\r\n")):
        requests, got = parsed_by_h11(request_head(request, authority="s", uploading=True) + body)
        assert (len(requests), got) == (1, b"abc")


@given(
    st.lists(
        st.sampled_from(["content-length", "transfer-encoding", "host", "close", "te", "expect", "x-a"]), max_size=4
    ),
    st.binary(max_size=40),
    st.booleans(),
)
def test_no_connection_field_changes_how_a_request_is_framed(options: list[str], body: bytes, chunked: bool) -> None:
    """A property over what `Connection` names: h11 finds one request and this body."""
    announced = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(body)))
    fields = (("Host", "x"), ("Connection", ", ".join(options)), announced)
    requests, got = parsed_by_h11(request_head(Request("POST", "/", fields, body), authority="s") + body)
    assert (len(requests), got) == (1, body)


# What is sent to a client


ANSWERS: list[tuple[str, int, Headers, int, Framing]] = [
    ("GET", 200, (), 1, Framing.CHUNKED),
    ("GET", 200, (), 0, Framing.CLOSE),
    ("GET", 200, (("Content-Length", "3"),), 1, Framing.LENGTH),
    ("GET", 200, (("content-length", "3"),), 0, Framing.LENGTH),
    ("HEAD", 200, (("Content-Length", "3"),), 1, Framing.NONE),
    ("GET", 204, (("Content-Length", "3"),), 1, Framing.NONE),
    ("GET", 304, (("Content-Length", "3"),), 1, Framing.NONE),
    ("GET", 304, (), 0, Framing.NONE),
    ("GET", 205, (), 1, Framing.CHUNKED),
    ("GET", 599, (("Content-Length", "3"),), 1, Framing.LENGTH),
]


@pytest.mark.parametrize(("method", "status", "fields", "minor", "framing"), ANSWERS)
@pytest.mark.parametrize("keep", [True, False])
def test_an_answer_says_where_it_ends(
    method: str, status: int, fields: Headers, minor: int, framing: Framing, keep: bool
) -> None:
    """Once. Without a body it says nothing of one, except to HEAD. A kept connection says so to HTTP/1.0."""
    assert framing_of_answer(method, status, fields, minor) is framing
    lines = answer_head(method, status, fields, keep=keep, minor=minor).decode().split("\r\n")[1:-2]
    names = [line.partition(":")[0].lower() for line in lines]
    assert ("transfer-encoding" in names) == (framing is Framing.CHUNKED)
    assert names.count("content-length") == (framing is Framing.LENGTH or method == "HEAD")
    closes = framing is Framing.CLOSE or not keep
    assert ("Connection: close" in lines) == closes
    assert ("Connection: keep-alive" in lines) == (not closes and minor == 0)


BAD_ANSWERS: list[tuple[int, Headers]] = [
    (-5, ()),
    (0, ()),
    (100, ()),
    (101, ()),
    (199, ()),
    (1000, ()),
    (99999, ()),
    (200, (("A:B", "c"),)),
    (200, (("A B", "c"),)),
    (200, (("", "c"),)),
    (200, (("A", "b\r\nContent-Length: 0"),)),
    (200, (("A", "b\0"),)),
    (200, (("A\r\nB", "c"),)),
    (200, (("A", "\u20ac"),)),
    (200, (("Content-Length", "1"), ("Content-Length", "2"))),
    (200, (("Content-Length", "+1"),)),
    (200, (("Content-Length", "1, 1"),)),
]


@pytest.mark.parametrize(("status", "fields"), BAD_ANSWERS)
def test_an_answer_that_is_not_http_is_not_sent(status: int, fields: Headers) -> None:
    """A cassette comes from strangers: nothing on it splits an answer in two."""
    with pytest.raises(BadAnswer):
        answer_head("GET", status, fields, keep=True)


def test_an_answer_keeps_no_field_of_a_connection() -> None:
    """Two Transfer-Encodings and a Connection on a cassette: neither is sent."""
    fields = (("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "gzip"), ("Connection", "x-a"), ("X-A", "1"))
    assert answer_head("GET", 200, fields, keep=True) == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
