"""Which requests are the same.

`form` = drop what is ignored, spell canonically; `key` = the digest of the form. One function for recording and for
replaying; its rules stand on the cassette, and `verify` derives every key again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl

import jsonpath

from replayproxy.core import canonical, headers
from replayproxy.core.redaction import Redactor, credentials, masks
from replayproxy.errors import SettingsError
from replayproxy.model import Headers, Key, Request

DEFAULT_IGNORE = (
    "$.user",
    "$.request_id",
    "$.metadata",
    "$.priority",
    "$.cache_salt",
    "$.store",
    "$.service_tier",
    "$.safety_identifier",
    "$.prompt_cache_key",
    "$.kv_transfer_params",
    "$.bootstrap_host",
    "$.bootstrap_port",
    "$.bootstrap_room",
)
"""They do not shape the answer."""

MANY, REMEMBERED = 1024, 16 * 1024
"""So many requests of at most so many bytes are remembered with their keys: 16 MiB."""

_TOP_LEVEL = re.compile(r"\$\.([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts as the same. `profile` is `default` (ignores DEFAULT_IGNORE) or `exact` (ignores nothing)."""

    profile: str = "default"
    ignore: tuple[str, ...] = ()
    """More JSONPath expressions (RFC 9535) to ignore in JSON bodies."""

    def paths(self) -> tuple[str, ...]:
        """Everything that is ignored."""
        return (DEFAULT_IGNORE if self.profile == "default" else ()) + self.ignore


class Matcher:
    """Applies rules. Raises `SettingsError` for a profile or a path that makes no sense.

    With a `redactor` requests are compared without their secrets: the key of what is stored is the key of what was
    asked.
    """

    def __init__(self, rules: Rules, redactor: Redactor | None = None) -> None:
        self.redactor = redactor
        if rules.profile not in ("default", "exact"):
            raise SettingsError(f"match profile {rules.profile!r} is not known: use default or exact")
        self.rules = rules
        self._known: dict[tuple[str, str, str | None, bytes, Headers], Key] = {}
        self._names: list[str] = []
        self._paths: list[jsonpath.JSONPath | jsonpath.CompoundJSONPath] = []
        for path in rules.paths():
            if simple := _TOP_LEVEL.fullmatch(path):
                self._names.append(simple[1])
                continue
            try:
                self._paths.append(jsonpath.compile(path, strict=True))
            except jsonpath.JSONPathError as error:
                reason = error.args[0]  # str(error) draws the place, and fails where that is the end
                raise SettingsError(f"--match-ignore {path!r} is not a JSONPath (RFC 9535): {reason}") from error

    def key(self, request: Request) -> Key:
        """The digest of the form. The same bytes have the same key: the last thousand short requests are remembered."""
        if len(request.body) > REMEMBERED:
            return canonical.digest(self.form(request))
        # What is masked as an echo depends on who asks.
        who = credentials.credential_lines(request.headers) if self.redactor is not None else ()
        asked = (request.method, request.target, headers.get(request.headers, "content-type"), request.body, who)
        known = self._known.get(asked)
        if known is None:
            if len(self._known) >= MANY:
                self._known.clear()
            known = self._known[asked] = canonical.digest(self.form(request))
        return known

    def form(self, request: Request) -> bytes:
        """What is compared: method, path, sorted query, body. Equal forms are the same request, and only they."""
        request = self._redacted(request)
        kind, body = self._body(request)
        # As latin-1, percent-coded bytes that are not UTF-8 stay different from one another.
        query = sorted(parse_qsl(request.query, keep_blank_values=True, encoding="latin-1"))
        return b"\n".join((request.method.encode(), request.path.encode("latin-1"), canonical.dumps(query), kind, body))

    def _redacted(self, request: Request) -> Request:
        """Without secrets, and without the lengths of their masks."""
        if self.redactor is None:
            return request
        request = self.redactor.request(request)
        body, target = masks.level(request.body), masks.level(request.target.encode("utf-8", "surrogateescape"))
        if body is request.body and not masks.may_hold(target):
            return request
        return replace(request, target=target.decode("utf-8", "surrogateescape"), body=body)

    def _body(self, request: Request) -> tuple[bytes, bytes]:
        if not request.body:
            return b"none", b""
        media = headers.get(request.headers, "content-type") or ""
        if media.lower().startswith("multipart/") and (parts := _multipart(media, request.body)) is not None:
            return b"multipart", canonical.dumps(parts)
        try:
            value = canonical.loads(request.body)
        except ValueError:
            return b"bytes", request.body
        return b"json", canonical.dumps(self._kept(value))

    def _kept(self, value: Any) -> Any:
        if isinstance(value, dict):
            for name in self._names:
                value.pop(name, None)
        if isinstance(value, dict | list):  # python-jsonpath takes a string for a document
            for path in self._paths:
                for match in list(path.finditer(value)):
                    _drop(match)
        return value


def _drop(match: jsonpath.JSONPathMatch) -> None:
    """Take a matched value out of its parent. In a list a `null` stays, so that the others keep their places."""
    parent, last = match.parent, match.parts[-1] if match.parts else None
    if parent is None:
        return
    if isinstance(parent.obj, dict):
        parent.obj.pop(last, None)
    elif isinstance(parent.obj, list) and isinstance(last, int):
        parent.obj[last] = None


def _multipart(media: str, body: bytes) -> list[list[str]] | None:
    """The parts with their fields, whatever the boundary (RFC 2046 §5.1.1); None if it is not well-formed.

    Cut by hand, because the standard library's e-mail parser needs 20 ms a megabyte and guesses where a part is odd:
    an odd one is compared as the bytes it is.
    """
    message = Message()
    message["Content-Type"] = media
    boundary = message.get_boundary()
    if not boundary:
        return None
    _, *pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1", "replace"))
    if not pieces or not pieces.pop().startswith(b"--"):
        return None
    parts: list[list[str]] = []
    for piece in pieces:
        fields, mark, content = piece.partition(b"\r\n\r\n")
        padding, *lines = fields.decode("latin-1").split("\r\n")
        named = [line.partition(":") for line in lines]
        if not mark or padding.strip(" \t") or not all(colon and name.strip() == name for name, colon, _ in named):
            return None
        parts.append(
            [*sorted(f"{name.lower()}: {value.strip()}" for name, _, value in named), content.decode("latin-1")]
        )
    return parts
