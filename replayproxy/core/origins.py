"""`Location` and `Content-Location` that lead to the server itself lead a client back to the proxy.

Live and in replay, as nginx's `proxy_redirect` and Apache's `ProxyPassReverse` do it. In between, and on a cassette,
such a URL has an origin that belongs to nobody, so that a recording says neither where the server was nor where the
proxy listened:

    server   Location: http://10.0.0.7:8000/v1/models
    stored   Location: http://upstream.invalid/v1/models
    client   Location: http://localhost:8080/t/my-test/v1/models

A URL of another origin is not touched, nor is a path outside the prefix of the upstream's URL.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import urlsplit

from replayproxy.model import Headers

NEUTRAL = "http://upstream.invalid"
"""RFC 6761 section 6.4: a name under `.invalid` never belongs to anybody."""

_FIELDS = frozenset({"location", "content-location"})

_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Scheme, host in lower case without brackets, port; and the path that stands before every target."""

    scheme: str
    host: str
    port: int
    prefix: str = ""


def neutral(headers: Headers, own: Collection[Origin]) -> Headers:
    """The fields of an answer, its own origins made neutral. `own` begins with the server that answered."""
    if not _concerned(headers):
        return headers
    return tuple((name, _neutral(value, own) if name.lower() in _FIELDS else value) for name, value in headers)


def for_client(headers: Headers, origin: str, prefix: str = "") -> Headers:
    """The fields of an answer, with what was neutral in them under `origin` and the path `prefix`.

    `origin` is `http://HOST`, or empty for a client that named no host.
    """
    if not _concerned(headers):
        return headers
    return tuple(
        (name, _returned(value, origin, prefix) if name.lower() in _FIELDS else value) for name, value in headers
    )


_SEARCHED_AT_ONCE = 8 * 1024
"""Bytes of a body that are gathered before they are searched."""


class UrlSearch:
    """Looks for URLs of a server in a body that arrives in pieces, also across their borders.

    What is found in a body is not changed: it is content, and may be signed, counted or compressed.
    """

    __slots__ = ("_found", "_mark", "_pieces", "_size")

    def __init__(self, authority: str) -> None:
        """`authority` is the server's host, and its port where that is not the default one."""
        self._mark = f"//{authority}".encode("latin-1", "replace")
        self._pieces: list[bytes] = []
        self._size = 0
        self._found = False

    def feed(self, data: bytes) -> None:
        """Take the next piece. Pieces are searched together: one by one would cost as much as to pass them on."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size > _SEARCHED_AT_ONCE:
            self._search()

    @property
    def found(self) -> bool:
        """Whether the pieces so far contain such a URL."""
        self._search()
        return self._found

    def _search(self) -> None:
        text = b"".join(self._pieces)
        self._found = self._found or self._mark in text
        border = text[1 - len(self._mark) :]
        self._pieces, self._size = [border], len(border)


def _concerned(headers: Headers) -> bool:
    return any(name.lower() in _FIELDS for name, _ in headers)


def _neutral(value: str, own: Collection[Origin]) -> str:
    first = next(iter(own))
    if _is_path(value):  # of the server that answered
        rest = _below(value, first.prefix)
        return value if rest is None else rest
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:  # not a URL; passed on as it is
        return value
    scheme = parts.scheme or first.scheme
    if scheme not in _PORTS or parts.hostname is None or parts.username is not None:
        return value
    named = (scheme, parts.hostname.rstrip("."), port or _PORTS[scheme])
    at = value.index("//") + 2 + len(parts.netloc)
    for origin in own:
        if named == origin[:3] and (rest := _below(value[at:], origin.prefix)) is not None:
            return NEUTRAL + rest
    return value


def _below(target: str, prefix: str) -> str | None:
    """What follows the prefix, as a target; None where it does not begin with it."""
    if not target.startswith(prefix):
        return None
    rest = target[len(prefix) :]
    if rest.startswith("/"):
        return rest
    return "/" + rest if rest[:1] in ("", "?", "#") else None


def _returned(value: str, origin: str, prefix: str) -> str:
    if value.startswith(NEUTRAL):
        rest = value[len(NEUTRAL) :]
        return f"{origin}{prefix}{rest}" if rest.startswith("/") else value
    return prefix + value if prefix and _is_path(value) else value


def _is_path(value: str) -> bool:
    return value.startswith("/") and not value.startswith("//")
