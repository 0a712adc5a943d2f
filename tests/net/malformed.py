"""Requests that two servers could read in two ways, and others that are not HTTP/1.1: a table, by what is wrong.

Every one of them carries a second request, `GET /admin`, where a server that reads it in another way would find it.
"""

from __future__ import annotations

from collections.abc import Iterator

SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKS = b"0\r\n\r\n" + SMUGGLED


def request(line: bytes, *fields: bytes, body: bytes = SMUGGLED) -> bytes:
    """A request with a Host field."""
    return b"\r\n".join([line, b"Host: x", *fields, b"", b""]) + body


def lengths() -> Iterator[tuple[str, bytes]]:
    """Content-Length fields that are not one number."""
    for value in (
        *(b"+5", b"-5", b"5,5", b"5, 5", b"5 5", b"0x5", b"5.0", b"5e0", b"", b" ", b"five", b"\xb2", b"5;a", b"_5"),
        *(b"1_0", b"18446744073709551616", b"9" * 40, b"5\x0b", b"5\x0c", b"\x0b5", b'"5"', b"5,", b",5", b"5\t6"),
    ):
        for method in (b"POST", b"GET"):
            yield f"length {value!r} {method.decode()}", request(method + b" / HTTP/1.1", b"Content-Length: " + value)
    for one, other in ((b"4", b"5"), (b"0", b"5"), (b"5", b"0"), (b"5", b"5"), (b"5", b"")):
        fields = (b"Content-Length: " + one, b"content-length: " + other)
        yield f"lengths {one!r} {other!r}", request(b"POST / HTTP/1.1", *fields)


def codings() -> Iterator[tuple[str, bytes]]:
    """Transfer-Encoding fields that are not `chunked`, or not alone."""
    for value in (
        *(b"gzip, chunked", b"chunked, chunked", b"chunked, gzip", b"identity", b"identity, chunked", b"xchunked"),
        *(b"chunkedx", b"chunked;q=1", b"chunked, identity", b"", b",chunked", b"chunked,", b"\x0bchunked", b"x"),
        *(b"chunked\x0b", b"\x00chunked", b'"chunked"', b"chun ked", b"gzip", b"chunked\x0c", b"cow", b"[chunked]"),
    ):
        yield f"coding {value!r}", request(b"POST / HTTP/1.1", b"Transfer-Encoding: " + value, body=CHUNKS)
        both = (b"Transfer-Encoding: " + value, b"Content-Length: 5")
        yield f"coding {value!r} and length", request(b"POST / HTTP/1.1", *both, body=CHUNKS)
    for fields in (
        (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
        (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        (b"Content-Length: 0", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
        (b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"),
    ):
        yield f"fields {fields!r}", request(b"POST / HTTP/1.1", *fields, body=CHUNKS)
    for line in (b"POST / HTTP/1.0", b"GET / HTTP/1.0"):
        for more in ((), (b"Connection: keep-alive",), (b"Content-Length: 5",)):
            yield f"coding {line!r} {more!r}", request(line, b"Transfer-Encoding: chunked", *more, body=CHUNKS)


def field_lines() -> Iterator[tuple[str, bytes]]:
    """Field lines that are malformed, before, between and behind others."""
    for bad in (
        *(b"Transfer-Encoding : chunked", b"Content-Length : 5", b"Content-Length\t: 5", b"Content-Length"),
        *(b" Content-Length: 5", b"\tTransfer-Encoding: chunked", b": 5", b"Content Length: 5", b"Content-Length;: 5"),
        *(b"X-A: a\x00b", b"X-A: a\rb", b"X-A: a\nContent-Length: 5", b"X-A: a\rContent-Length: 5", b"X-A: \x01"),
        *(
            b"X-A: \x7f",
            b"X\x00-A: b",
            b"X\xe9: b",
            b"(X): b",
            b"X@A: b",
            b'"X": b',
            b"X/A: b",
            b"X[A]: b",
            b"\x00",
            b"\r",
        ),
        *(b"X-A: b\r", b"X-A: b\n", b"X-A: b\x0bTransfer-Encoding: chunked", b"\x0bX-A: b", b"X-A: \x1b[31m"),
    ):
        yield f"line {bad!r}", request(b"POST / HTTP/1.1", bad, b"Content-Length: 5")
        yield f"line {bad!r} behind", request(b"POST / HTTP/1.1", b"Content-Length: 5", bad)


def request_lines() -> Iterator[tuple[str, bytes]]:
    """Request lines that are not METHOD TARGET HTTP/1.1."""
    for line in (
        *(
            b"GET / HTTP/0.9",
            b"GET / HTTP/2.0",
            b"GET / HTTP/1.2",
            b"GET / HTTP/1.9",
            b"GET / HTTP/3.0",
            b"GET / HTTP/1",
        ),
        *(
            b"GET / HTTP/11",
            b"GET / HTTP/1.1 ",
            b"GET / HTTP/1.1x",
            b"GET / HTTP/01.1",
            b"GET / HTTP/1.01",
            b"GET / http/1.1",
        ),
        *(b"GET / HTTP /1.1", b"GET / HTTP/ 1.1", b"GET / HTTPS/1.1", b"GET / RTSP/1.0", b"SOURCE / ICE/1.0", b"GET /"),
        *(
            b"GET",
            b"",
            b" GET / HTTP/1.1",
            b"GET  / HTTP/1.1",
            b"GET /  HTTP/1.1",
            b"GET\t/ HTTP/1.1",
            b"GET / HTTP/1.1\t",
        ),
        *(
            b"GET /a b HTTP/1.1",
            b"GET /a\x00b HTTP/1.1",
            b"GET /\x01 HTTP/1.1",
            b"GET /\x7f HTTP/1.1",
            b"GET /\x0b HTTP/1.1",
        ),
        *(b"GET /a#b HTTP/1.1", b"GET a HTTP/1.1", b"GET ?a HTTP/1.1", b"GET * HTTP/1.1", b"POST * HTTP/1.1"),
        *(
            b"get / HTTP/1.1",
            b"Get / HTTP/1.1",
            b"gEt / HTTP/1.1",
            b"G(T / HTTP/1.1",
            b"G@T / HTTP/1.1",
            b"GE\x00T / HTTP/1.1",
        ),
        *(b"GET ftp://x/ HTTP/1.1", b"GET http:// HTTP/1.1", b"GET http:///a HTTP/1.1", b"GET http://u@x/ HTTP/1.1"),
        *(b"GET http://evil.example/ HTTP/1.1", b"GET https://evil.example/ HTTP/1.1", b"GET http://x:1/ HTTP/1.1"),
        *(b"GET javascript:a HTTP/1.1", b"GET http:/a HTTP/1.1", b"GET x:80 HTTP/1.1", b"GET http://[::1/ HTTP/1.1"),
        *(b"CONNECT x:443 HTTP/1.1", b"CONNECT / HTTP/1.1", b"CONNECT http://x/ HTTP/1.1", b"PRI * HTTP/2.0"),
    ):
        yield f"request line {line!r}", request(line)


def hosts() -> Iterator[tuple[str, bytes]]:
    """Host fields that are not one host."""
    yield "no Host", b"GET / HTTP/1.1\r\n\r\n" + SMUGGLED
    for value in (
        *(
            b"a/b@c",
            b"a@b",
            b"a/b",
            b"a?b",
            b"a#b",
            b"a b",
            b"a, b",
            b"a:b",
            b"a:80:80",
            b"a:-1",
            b"[::1",
            b"::1",
            b"a\\b",
        ),
        *(b"\xc3\xa9", b"a\x00", b"a\tb", b"<a>", b"a|b", b"{a}", b"a:80a", b"[a]b", b'"a"', b"http://a", b"a^b"),
    ):
        yield f"Host {value!r}", b"GET / HTTP/1.1\r\nHost: " + value + b"\r\n\r\n" + SMUGGLED
    for fields in ((b"Host: y",), (b"Host: x",), (b"host:",)):
        yield f"Hosts {fields!r}", request(b"GET / HTTP/1.1", *fields)
        yield f"Hosts {fields!r} in 1.0", request(b"GET / HTTP/1.0", *fields)


def nominations() -> Iterator[tuple[str, bytes]]:
    """Connection fields that name what says where a message ends."""
    for name in (b"content-length", b"transfer-encoding", b"host", b"connection", b"trailer", b"expect", b"te"):
        for value in (name, name.upper(), b"close, " + name, name + b", keep-alive", b"x,\t" + name + b" ,y"):
            framing = b"Transfer-Encoding: chunked" if name == b"transfer-encoding" else b"Content-Length: 5"
            fields = (b"Connection: " + value, framing)
            yield f"Connection {value!r}", request(b"POST / HTTP/1.1", *fields, body=CHUNKS)
        yield (
            f"Connection {name!r} in two fields",
            request(b"POST / HTTP/1.1", b"Connection: close", b"Connection: " + name, b"Content-Length: 5"),
        )


def line_ends() -> Iterator[tuple[str, bytes]]:
    """Line ends that are not CRLF."""
    good = request(b"POST / HTTP/1.1", b"Content-Length: 5", b"X-A: b", body=b"")
    for end in (b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n ", b"\x00\r\n", b"\x85", b"\x0b"):
        yield f"all lines end in {end!r}", good.replace(b"\r\n", end) + SMUGGLED
        lines = good.split(b"\r\n")[:-2]
        for number in range(len(lines)):
            mixed = b"".join(line + (end if at == number else b"\r\n") for at, line in enumerate(lines))
            if end != b"\r\n " or number < len(lines) - 1:
                yield f"line {number} ends in {end!r}", mixed + b"\r\n" + SMUGGLED
    yield "the empty line is LF", good[:-2] + b"\n" + SMUGGLED


def chunks() -> Iterator[tuple[str, bytes]]:
    """Chunked bodies that are malformed."""
    for body in (
        *(
            b"3\nabc\r\n0\r\n\r\n",
            b"3\r\nabc\n0\r\n\r\n",
            b"3\r\nabc\r\n0\n\n",
            b"3\r\nabc0\r\n\r\n",
            b"3\r\nabcd\r\n0\r\n\r\n",
        ),
        *(b"3\r\nab\r\n0\r\n\r\n", b"-1\r\nabc\r\n0\r\n\r\n", b"+3\r\nabc\r\n0\r\n\r\n", b"0x3\r\nabc\r\n0\r\n\r\n"),
        *(b" 3\r\nabc\r\n0\r\n\r\n", b"3 \r\nabc\r\n0\r\n\r\n", b"g\r\nabc\r\n0\r\n\r\n", b"\r\nabc\r\n0\r\n\r\n"),
        *(b"3;a\nb\r\nabc\r\n0\r\n\r\n", b"3;\x00\r\nabc\r\n0\r\n\r\n", b"3;" + b"a" * 9000 + b"\r\nabc\r\n0\r\n\r\n"),
        *(b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n", b"10000000000000003\r\nabc\r\n0\r\n\r\n", b"3\r\rabc\r\n0\r\n\r\n"),
        *(b"0\r\nContent-Length : 5\r\n\r\n", b"0\r\n X: y\r\n\r\n", b"0\r\nX\r\n\r\n", b"0\r\nX: a\rb\r\n\r\n"),
        *(
            b"3\r\nabc\r\n0\r\nX: y\n\r\n",
            b"3_\r\nabc\r\n0\r\n\r\n",
            b"3\xb2\r\nabc\r\n0\r\n\r\n",
            b"3,3\r\nabc\r\n0\r\n\r\n",
        ),
        (b"1;" + b"a" * 4000 + b"\r\nx\r\n") * 20 + b"0\r\n\r\n",
        *(b"0\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", b"00\n\r\n", b"3\r\nabc\r\n\x00\r\n\r\n", b"0;\n\r\n\r\n"),
    ):
        yield f"chunks {body[:30]!r}", request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", body=body + SMUGGLED)


def others() -> Iterator[tuple[str, bytes]]:
    """Too much, and what is not HTTP at all."""
    yield "1001 fields", request(b"GET / HTTP/1.1", *[b"X-A: 1"] * 1001)
    yield "a field of 70 kB", request(b"GET / HTTP/1.1", b"X-A: " + b"a" * 70_000)
    yield "a name of 70 kB", request(b"GET / HTTP/1.1", b"X" * 70_000 + b": a")
    yield "a head of 300 kB", request(b"GET / HTTP/1.1", *[b"X-A: " + b"a" * 60_000] * 5)
    yield "a target of 70 kB", request(b"GET /" + b"a" * 70_000 + b" HTTP/1.1")
    yield "an expectation", request(b"POST / HTTP/1.1", b"Expect: 200-ok", b"Content-Length: 5")
    yield "two expectations", request(b"POST / HTTP/1.1", b"Expect: 100-continue", b"Expect: x", b"Content-Length: 5")
    yield "TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64
    yield "HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    yield "an answer", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + SMUGGLED
    yield "SSH", b"SSH-2.0-OpenSSH_9.2\r\n"
    yield "PROXY protocol", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n" + SMUGGLED
    yield "a JSON line", b'{"jsonrpc":"2.0"}\r\n'
    yield "zeros", b"\x00" * 100


MALFORMED: dict[str, bytes] = {
    name: data
    for table in (lengths, codings, field_lines, request_lines, hosts, nominations, line_ends, chunks, others)
    for name, data in table()
}
