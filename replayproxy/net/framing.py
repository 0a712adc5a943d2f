"""How messages are framed: the one place that decides it, for requests and for answers, received and sent.

Reads the head of a request strictly (RFC 9110, RFC 9112), and says how its body is delimited. Writes heads: of requests
for the upstream, of answers for the client. What is sent is decided from the parsed message, never from field lines
that happened to be left over. Pure: bytes in, values out; knows no socket and no time.

    received:  head ──▶ RequestHead(request, framing, length, …)
    sent:      request, uploading ──▶ request_head ──▶ bytes for the upstream
               status, fields     ──▶ answer_head  ──▶ bytes for the client
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

from replayproxy.core import headers
from replayproxy.core.answers import fault_in_head, has_body
from replayproxy.errors import BadAnswer, ClientError
from replayproxy.model import Headers, Request

MAX_HEAD = 256 * 1024
"""Bytes of a request's head, all lines together."""

MAX_LINE = 64 * 1024
"""Bytes of one line of it."""

MAX_FIELDS = 1000
"""Field lines of a request. Browsers and SDKs send 10 to 30, gateways add as many."""

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"  # noqa: S105  not a password: RFC 9110 5.6.2
_REQUEST_LINE = re.compile(rf"({_TOKEN}++) ([\x21-\x7e\x80-\xff]++) HTTP/([0-9])\.([0-9])")
_FIELD_LINE = re.compile(rf"({_TOKEN}++):([\t\x20-\x7e\x80-\xff]*+)")
_FIELD_LINES = re.compile(rf"(?:{_TOKEN}++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n")
_METHOD = re.compile(r"[A-Z][A-Z0-9_-]*+")
_LENGTH = re.compile(r"[0-9]{1,18}")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%a-z]*+\]|[A-Za-z0-9\-._~!$&'()*+,;=%]*+)(?::[0-9]*+)?")
_REASONS = {status.value: status.phrase for status in HTTPStatus}

_DECISIVE = frozenset({"connection", "content-length", "expect", "host", "te", "transfer-encoding", "upgrade"})
_BARE_LINE_END = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\x00")

NOT_NOMINATED = headers.NEVER_NOMINATED
"""What `Connection` may not name. `TE` and `Upgrade` have to be named where they are sent (RFC 9110 7.8, 10.1.4); they
are never passed on, so naming them changes nothing."""


class Framing(Enum):
    """How the end of a body is known (RFC 9112 6.3)."""

    NONE = "none"
    """There is no body, and nothing says that there were one."""

    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"
    """The end of the connection is the end of the body. Answers only."""


class RequestHead(NamedTuple):
    """A received head. `request` has no body yet; `length` is the number of bytes of a body with `LENGTH`.

    `authority` is the host of an absolute-form target, which the server has to recognise as its own; None otherwise.
    """

    request: Request
    minor: int
    """Of the version HTTP/1.x."""
    framing: Framing
    length: int
    keep_alive: bool
    expects_continue: bool
    websocket: bool
    authority: str | None


# Received requests


def check_beginning(received: bytes | bytearray, checked: int = 0) -> None:
    """Refuse as early as possible what will never be a head; `received` has not all of it yet.

    `checked` bytes of it were checked before. Raises `ClientError`.
    """
    if received[:1] == b"\x16":
        raise _tls()
    if received.startswith(b"PRI * HTTP/2"):
        raise _version("2.0")
    # A line end that is not CRLF: what one server takes for a line, the next one takes for a part of it.
    if _BARE_LINE_END.search(received, max(0, checked - 1)):
        line = received.partition(b"\n")[0].rstrip(b"\r").decode("latin-1")
        raise _bad_request_line(line) or _malformed("a line that does not end in CRLF, or a NUL")
    end = received.find(b"\r\n", 0, MAX_LINE + 2)
    if end >= max(0, checked - 1) or (end < 0 and len(received) > MAX_LINE + 2):
        line = received[: end if end >= 0 else MAX_LINE + 2].decode("latin-1")
        if (error := _bad_request_line(line)) is not None:
            raise error
    if len(received) > MAX_HEAD:
        raise ClientError(
            f"the head of the request is longer than {MAX_HEAD} bytes: send fewer or shorter fields",
            status=431,
            code="head_too_large",
        )


def read_request_head(head: bytes) -> RequestHead:
    """Read a head, from its first byte to the empty line. Raises `ClientError`."""
    if len(head) > MAX_HEAD:
        check_beginning(head)
    text = head.decode("latin-1")
    line, _, rest = text.partition("\r\n")
    if (found := _REQUEST_LINE.fullmatch(line)) is None or len(line) > MAX_LINE:
        raise _bad_request_line(line) or _malformed("a request line that is not METHOD TARGET HTTP/1.1")
    method, target, major, minor = found.groups()
    if major != "1" or minor not in "01":
        raise _version(f"{major}.{minor}")
    if _METHOD.fullmatch(method) is None:
        raise _malformed("a method that is not in upper case (methods are case-sensitive, RFC 9110 9.1)")
    lines = rest.split("\r\n")[:-2]
    if _FIELD_LINES.fullmatch(rest) is None or len(lines) > MAX_FIELDS or len(head) > MAX_LINE:
        _check_lines(lines)
    fields = []
    for line in lines:
        name, _, value = line.partition(":")
        fields.append((name, value.strip(" \t")))
    return _interpreted(method, target, tuple(fields), int(minor))


def _check_lines(lines: list[str]) -> None:
    """Raise what is wrong with the field lines, if something is."""
    if len(lines) > MAX_FIELDS:
        raise ClientError(
            f"the request has more than {MAX_FIELDS} field lines: send fewer", status=431, code="head_too_large"
        )
    for number, line in enumerate(lines, start=1):
        if _FIELD_LINE.fullmatch(line) is None:
            raise _malformed(f"a malformed field, in line {number} after the request line{_why_no_field(line)}")
        if len(line) > MAX_LINE:
            raise ClientError(
                f"field line {number} of the request is longer than {MAX_LINE} bytes: shorten it",
                status=431,
                code="head_too_large",
            )


def _why_no_field(line: str) -> str:
    """The mistakes that smuggling uses, by name; nothing of the line itself, which may hold a key."""
    if line[:1] in (" ", "\t"):
        return " (it continues the line before it, which RFC 9112 5.2 forbids)"
    name, colon, value = line.partition(":")
    if not colon:
        return " (it has no colon)"
    if name != name.rstrip(" \t"):
        return " (white space before its colon)"
    if any(ord(character) < 32 and character != "\t" for character in value):
        return " (a control character in its value)"
    return " (its name has a character that no name has)"


def _interpreted(method: str, target: str, fields: Headers, minor: int) -> RequestHead:
    decisive = [(lower, value) for name, value in fields if (lower := name.lower()) in _DECISIVE]

    def values(field_name: str) -> list[str]:
        return [value for name, value in decisive if name == field_name]

    framing, length = _body_framing(values("content-length"), values("transfer-encoding"), minor)
    hosts = values("host")
    if len(hosts) > 1 or (not hosts and minor):
        raise _malformed("no Host field, or several")
    if hosts and _HOST.fullmatch(hosts[0]) is None:
        raise _malformed("a Host field that is not HOST or HOST:PORT")
    keep, websocket = bool(minor), False
    if connection := values("connection"):
        options = {option.strip(" \t").lower() for value in connection for option in value.split(",")}
        # A nominated Content-Length would be taken away as a hop-by-hop field, and its body would be the next request.
        if nominated := options & NOT_NOMINATED:
            raise _malformed(f"a Connection field that names {', '.join(sorted(nominated))}")
        if "te" in options and not values("te"):
            raise _malformed("a Connection field that names te, without a TE field")
        # An `upgrade` without an Upgrade field is no mistake: nginx sends it with every request where a `location` has
        # `proxy_set_header Connection "upgrade"`, as its documentation of WebSocket proxying says. It asks for nothing.
        keep = "close" not in options and (keep or "keep-alive" in options)
        if "upgrade" in options and method == "GET" and minor and framing is Framing.NONE:
            websocket = [value.lower() for value in values("upgrade")] == ["websocket"]
    expects_continue = False
    if expectations := values("expect"):
        if not minor:
            fields = headers.without(fields, "expect")  # MUST ignore it (RFC 9110 10.1.1)
        elif [value.lower() for value in expectations] != ["100-continue"]:
            raise ClientError(
                "the only expectation that can be met is 100-continue", status=417, code="expectation_failed"
            )
        else:
            expects_continue = framing is not Framing.NONE
    target, authority = _origin_form(method, target)
    request = Request(method, target, fields)
    return RequestHead(request, minor, framing, length, keep, expects_continue, websocket, authority)


def _body_framing(lengths: list[str], codings: list[str], minor: int) -> tuple[Framing, int]:
    """How the body is delimited, and its length (RFC 9112 6.3). What two servers could read in two ways is refused."""
    if codings:
        if lengths:
            raise _malformed("both Content-Length and Transfer-Encoding")
        if not minor:
            raise _malformed("a Transfer-Encoding, which HTTP/1.0 does not have")
        if len(codings) > 1 or codings[0].lower() != "chunked":
            raise _malformed("a Transfer-Encoding other than chunked")
        return Framing.CHUNKED, 0
    if not lengths:
        return Framing.NONE, 0
    if len(lengths) > 1:
        raise _malformed("several Content-Length fields")
    if _LENGTH.fullmatch(lengths[0]) is None:
        raise _malformed("a Content-Length that is not a number")
    length = int(lengths[0])
    return (Framing.LENGTH if length else Framing.NONE), length


def _origin_form(method: str, target: str) -> tuple[str, str | None]:
    """The path and query of a target (RFC 9112 3.2), and the authority of an absolute-form one."""
    if "#" in target:
        raise _malformed("a target with a fragment")
    if method == "CONNECT":
        raise ClientError(
            "this is not a forward proxy, and CONNECT has nothing to connect to: set it as the base URL of the client"
            " instead",
            status=405,
            code="connect",
        )
    if target.startswith("/") or (target == "*" and method == "OPTIONS"):
        return target, None
    scheme, mark, rest = target.partition("://")
    if not mark or scheme.lower() not in ("http", "https"):
        raise _malformed("a target that is not a path: send /v1/…")
    end = min(found for found in (rest.find("/"), rest.find("?"), len(rest)) if found >= 0)
    authority, path = rest[:end], rest[end:]
    if _HOST.fullmatch(authority) is None or not authority:
        raise _malformed("a target whose host is not HOST or HOST:PORT")
    return path if path.startswith("/") else f"/{path}", authority


def _bad_request_line(line: str) -> ClientError | None:
    """What is wrong with a request line; None if nothing is."""
    if len(line) > MAX_LINE:
        return ClientError(
            f"the request line is longer than {MAX_LINE} bytes: put what is long into the body",
            status=414,
            code="target_too_long",
        )
    if (found := _REQUEST_LINE.fullmatch(line)) is not None:
        _, _, major, minor = found.groups()
        return None if major == "1" and minor in "01" else _version(f"{major}.{minor}")
    if line[:1] == "\x16":
        return _tls()
    return _malformed("a request line that is not METHOD TARGET HTTP/1.1")


def _version(version: str) -> ClientError:
    if version.startswith("2"):
        return ClientError(
            "HTTP/2 is not spoken here, and the client began with it: let it speak HTTP/1.1"
            " (curl: leave --http2-prior-knowledge away)",
            status=505,
            code="http2",
        )
    return ClientError(
        f"HTTP/{version} is not spoken here: use HTTP/1.1", status=505, code="http_version_not_supported"
    )


def _tls() -> ClientError:
    return ClientError(
        "a client speaks TLS to a port that serves plain HTTP: write http:// instead of https://, or start the proxy"
        " with --ssl-certfile and --ssl-keyfile",
        code="tls_on_plain_port",
    )


def _malformed(what: str) -> ClientError:
    return ClientError(f"the request has {what}", code="malformed_request")


# Sent requests


def framing_of_request(request: Request, *, uploading: bool) -> tuple[Framing, int]:
    """How a request's body is delimited on the way to an upstream, and its length.

    With `uploading` the body comes later, as the client announced it in the fields of `request`; else it is
    `request.body`. Decided from the fields as they were received: none is missing because `Connection` named it.
    """
    announced = headers.get(request.headers, "content-length")
    if uploading:
        return (Framing.CHUNKED, 0) if announced is None else (Framing.LENGTH, int(announced))
    chunked = headers.get(request.headers, "transfer-encoding") is not None
    if request.body or announced is not None or chunked:
        return Framing.LENGTH, len(request.body)
    return Framing.NONE, 0


def request_head(
    request: Request, *, authority: str, prefix: str = "", uploading: bool = False, upgrade: str | None = None
) -> bytes:
    """The head of a request for an upstream (RFC 9112 3). Host is the server's, the framing is decided anew.

    `prefix` stands before the target. `upgrade` is the protocol to ask for.
    """
    framing, length = framing_of_request(request, uploading=uploading)
    dropped = ("host", "content-length") if length or uploading else ("host", "content-length", "expect")
    lines = [f"{request.method} {prefix}{request.target} HTTP/1.1", f"Host: {authority}"]
    lines += _lines(headers.without(headers.end_to_end(request.headers), *dropped))
    if upgrade is not None:
        lines += ["Connection: Upgrade", f"Upgrade: {upgrade}"]
    if framing is Framing.CHUNKED:
        lines.append("Transfer-Encoding: chunked")
    elif framing is Framing.LENGTH:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


# Sent answers


def framing_of_answer(method: str, status: int, fields: Headers, minor: int = 1) -> Framing:
    """How the body of an answer is delimited on the way to a client that speaks HTTP/1.`minor`."""
    if not has_body(method, status):
        return Framing.NONE
    if headers.get(fields, "content-length") is not None:
        return Framing.LENGTH
    return Framing.CHUNKED if minor else Framing.CLOSE


@lru_cache(maxsize=256)
def answer_head(method: str, status: int, fields: Headers, *, keep: bool, minor: int = 1) -> bytes:
    """The head of an answer to a client (RFC 9112 4). `keep`: the connection stays open. Raises `BadAnswer`."""
    fields = headers.end_to_end(fields)
    if (fault := fault_in_head(status, fields)) is not None:
        raise BadAnswer(f"the answer cannot be sent as HTTP: {fault}")
    framing = framing_of_answer(method, status, fields, minor)
    if framing is Framing.NONE and method != "HEAD":
        fields = headers.without(fields, "content-length")  # RFC 9110 8.6: there is no body that it could tell of
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, '')}", *_lines(fields)]
    if framing is Framing.CHUNKED:
        lines.append("Transfer-Encoding: chunked")
    if framing is Framing.CLOSE or not keep:
        lines.append("Connection: close")
    elif not minor:
        lines.append("Connection: keep-alive")  # HTTP/1.0 closes unless told otherwise (RFC 9112 9.3)
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def switching_head(fields: Headers) -> bytes:
    """The head of a 101 that makes a client's connection a WebSocket. `fields` are end-to-end and have been checked."""
    lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket", *_lines(fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _lines(fields: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{name}: {value}" for name, value in fields]
