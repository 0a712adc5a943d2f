"""Decide which requests are the same.

`compared` drops what is ignored and puts placeholders for what is normalised; `form` encodes the result canonically;
`key` is the digest of the form. Recording and replay use the same function. Its rules are stored in the cassette, and
`verify` derives every key again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.message import Message
from operator import itemgetter
from typing import Any, Self
from urllib.parse import parse_qsl

from jsonpath import JSONPathMatch

from replayproxy.core import coding, effort, headers
from replayproxy.core.identity import canonical
from replayproxy.core.identity.defaults import drop_defaults
from replayproxy.core.identity.normalise import normalisers
from replayproxy.core.paths import Path
from replayproxy.core.patterns import Refused
from replayproxy.core.redaction import Redactor, credentials, masks
from replayproxy.errors import SettingsError, setting
from replayproxy.model import KEY_TAG, Headers, Key, Request

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
"""Fields that do not shape the answer."""

MAX_CACHED_KEYS, MAX_CACHED_BYTES = 1024, 16 * 1024
"""So many requests of at most so many bytes are remembered with their keys: 16 MiB."""

MOST_RULES = 256
"""A cassette brings its own, and each one is applied to every request."""

MAX_MEDIA_TYPE = 1000
"""Bytes of a Content-Type with a boundary; the boundary has 70 at most (RFC 2046 §5.1.1)."""

SHORT, SHORT_CODED = effort.SHORT, 64
"""Bytes of a body that is looked at within the event loop, plain and in a content coding. A plain one of many small
values is not (`core.effort`)."""

SHORT_HEAD = 8 * 1024
"""Characters of a target and of field values that are looked at within the event loop: 64 KiB of query parameters take
150 ms, and as many cookies, each of which may stand in the body again, 190 ms."""

_TOP_LEVEL = re.compile(r"\$\.([A-Za-z_][A-Za-z0-9_]*)")


SECRET = re.compile(r"auth|cookie|key|token|secret|signature|password|credential")
"""In the name of a header: it is never compared, for what is compared is stored."""


@dataclass(frozen=True, slots=True)
class MatchRules:
    """What counts as the same. `profile` is `default` (ignores DEFAULT_IGNORE) or `exact` (ignores nothing)."""

    profile: str = "default"
    ignore: tuple[str, ...] = ()
    """More JSONPath expressions (RFC 9535) to ignore in JSON bodies."""
    normalise: tuple[str, ...] = ()
    """Names of `normalising.KNOWN`, or NAME=REGEX."""
    headers: tuple[str, ...] = ()
    """Names of request headers that are compared too."""
    defaults: bool = False
    """Whether a field that says its documented default is as good as none (`core.defaults`)."""

    def paths(self) -> tuple[str, ...]:
        """Return every path that is ignored."""
        return (DEFAULT_IGNORE if self.profile == "default" else ()) + self.ignore

    def document(self) -> dict[str, Any]:
        """Return the rules as a cassette stores them."""
        rules: dict[str, Any] = {"profile": self.profile, "ignore": list(self.ignore), "tag": KEY_TAG}
        if self.normalise:
            rules["normalise"] = list(self.normalise)
        if self.headers:
            rules["headers"] = list(self.headers)
        if self.defaults:
            rules["defaults"] = True
        return rules

    @classmethod
    def of(cls, document: object) -> Self:
        """Read the rules of a cassette. Raises ValueError if they are invalid."""
        names = {"profile", "ignore", "normalise", "headers", "defaults", "tag"}
        if not isinstance(document, dict) or document.get("tag") != KEY_TAG or not document.keys() <= names:
            raise ValueError("these are no match rules")
        profile = document.get("profile")
        if profile not in ("default", "exact"):
            raise ValueError(f"there is no match profile {profile}")
        defaults = document.get("defaults", False)
        if type(defaults) is not bool:
            raise ValueError("these are no match rules")
        ignore, normalise, compared = (_strings(document.get(name, [])) for name in ("ignore", "normalise", "headers"))
        rules = cls(profile, ignore, normalise, compared, defaults)
        try:
            # Attack: a cassette with a rule that cannot be applied, such as a regular expression that never ends.
            Matcher(rules)
        except SettingsError as error:
            raise ValueError(str(error)) from error
        return rules

    def __str__(self) -> str:
        """Return the rules as flags."""
        flags = [f"--match {self.profile}"]
        flags += [f"--match-ignore '{path}'" for path in self.ignore]
        flags += [f"--match-normalise '{name}'" for name in self.normalise]
        flags += [f"--match-header {name}" for name in self.headers]
        flags += ["--match-defaults"] if self.defaults else []
        return " ".join(flags)


def _strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("these are no match rules")
    return tuple(value)


@dataclass(frozen=True, slots=True)
class Compared:
    """What is left of a request when nothing remains that does not count.

    `kind` says what `body` is: `json` (a value), `multipart` (a list of lists of str), `bytes`, `none`, `unsent` (the
    client kept it: `is_unsent`). Query and headers are pairs, sorted by name.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]
    kind: str
    body: Any


def is_unsent(request: Request) -> bool:
    """Whether a request has a body that its client kept back, because it was answered instead of told to go on.

    Such a request still has its Expect field (RFC 9110 section 10.1.1), and no body; where a body was read, whoever
    read it has taken the field away. It is another request than one without a body, and than one with any.
    """
    fields = request.headers
    expects = not request.body and (headers.get(fields, "expect") or "").lower() == "100-continue"
    return expects and headers.get(fields, "content-length") != "0"


class Matcher:
    """Applies match rules. Raises `SettingsError` for an invalid profile, path, normaliser or header.

    With a `redactor`, requests are compared without their secrets: the key of the stored request equals the key of the
    live one.
    """

    def __init__(self, rules: MatchRules, redactor: Redactor | None = None) -> None:
        self.redactor = redactor
        if rules.profile not in ("default", "exact"):
            raise SettingsError(f"match profile {rules.profile!r} is not known: use default or exact")
        if len(rules.ignore) + len(rules.normalise) + len(rules.headers) > MOST_RULES:
            raise SettingsError(f"there are more than {MOST_RULES} match rules")
        self.rules = rules
        self._cached_keys: dict[tuple[str, str, str | None, tuple[str, ...], bytes, bool, Headers], Key] = {}
        self._normalisers = normalisers(rules.normalise)
        self.compared_headers = tuple(sorted({name.lower() for name in rules.headers}))
        for name in self.compared_headers:
            if SECRET.search(name):
                raise SettingsError(
                    f"{setting('match_header', name)} would put a credential onto the cassette: leave it away"
                )
        nothing = Request("", "")
        self._latest = nothing, Compared("", "", (), (), "none", b"")
        self._names: list[str] = []
        self._paths: list[Path] = []
        for path in rules.paths():
            if simple := _TOP_LEVEL.fullmatch(path):
                self._names.append(simple[1])
                continue
            try:
                self._paths.append(Path(path))
            except Refused as reason:
                raise SettingsError(f"{setting('match_ignore', repr(path))} {reason}") from reason

    def __reduce__(self) -> tuple[type[Matcher], tuple[MatchRules, Redactor | None]]:
        """Pickle the rules; the receiving process builds the matcher again."""
        return Matcher, (self.rules, self.redactor)

    def takes_long(self, request: Request) -> bool:
        """Return whether the key takes more than a few ms, so that other streams would wait for it on the event loop.

        A short body in a content coding may decode to a long one.
        """
        fields = request.headers
        if len(request.target) + sum(len(value) for _, value in fields) > SHORT_HEAD:
            return True
        return len(request.body) > SHORT_CODED if coding.is_coded(fields) else effort.is_long(request.body)

    def key(self, request: Request) -> Key:
        """Return the digest of the form. The keys of the last thousand short requests are cached."""
        if request.prepared is not None and request.prepared[0] is self:
            return request.prepared[1].key
        if len(request.body) > MAX_CACHED_BYTES or self.compared_headers:
            return canonical.digest(self.form(request))
        # What is masked as an echo depends on who asks.
        who = credentials.credential_fields(request.headers) if self.redactor is not None else ()
        media, codings = headers.get(request.headers, "content-type"), coding.codings(request.headers)
        inputs = (request.method, request.target, media, codings, request.body, is_unsent(request), who)
        key = self._cached_keys.get(inputs)
        if key is None:
            if len(self._cached_keys) >= MAX_CACHED_KEYS:
                self._cached_keys.clear()
            key = self._cached_keys[inputs] = canonical.digest(self.form(request))
        return key

    def form(self, request: Request) -> bytes:
        """Return the canonical bytes of what is compared. Two requests are the same if and only if their forms are
        equal."""
        compared = self.compared(request)
        body = compared.body if compared.kind in ("none", "unsent", "bytes") else canonical.dumps(compared.body)
        parts = [
            compared.method.encode(),
            compared.path.encode("latin-1", "backslashreplace"),
            canonical.dumps(compared.query),
            compared.kind.encode(),
            body,
        ]
        if self.compared_headers:
            parts.insert(3, canonical.dumps(compared.headers))
        return b"\n".join(parts)

    def compared(self, request: Request) -> Compared:
        """Return what is compared. The last result is cached, because key and sketch need the same one."""
        latest_request, latest = self._latest
        if latest_request is not request:
            latest = self._compare(*self._redacted(request))
            self._latest = request, latest
        return latest

    def _compare(self, request: Request, read: bytes) -> Compared:
        """`read` is the body with its content codings undone."""
        # As latin-1, percent-coded bytes that are not UTF-8 stay different from one another.
        # Names sorted, the values of one name in their order: `loc=1&loc=2` is not `loc=2&loc=1`.
        query = sorted(parse_qsl(request.query, keep_blank_values=True, encoding="latin-1"), key=itemgetter(0))
        kind, body = self._body(request, read)
        path = request.path
        if self._normalisers:
            seen: dict[str, int] = {}
            path = self._normalised(path, seen)
            query = [(name, self._normalised(value, seen)) for name, value in query]
            body = body if kind == "bytes" else self._normalised(body, seen)
        return Compared(request.method, path, tuple(query), self._compared_headers(request), kind, body)

    def _compared_headers(self, request: Request) -> tuple[tuple[str, str], ...]:
        return tuple(
            (name, value.strip())
            for compared in self.compared_headers
            for name, value in ((field.lower(), value) for field, value in request.headers)
            if name == compared
        )

    def _redacted(self, request: Request) -> tuple[Request, bytes]:
        """Return the request without secrets and mask lengths, and its decoded body."""
        if self.redactor is None:
            return request, coding.body_of(request)
        request = self.redactor.request(request)
        body, target = (
            masks.without_lengths(coding.body_of(request)),
            masks.without_lengths(request.target.encode("utf-8", "surrogateescape")),
        )
        if masks.may_contain_mask(target):
            request = replace(request, target=target.decode("utf-8", "surrogateescape"))
        return request, body

    def _body(self, request: Request, body: bytes) -> tuple[str, Any]:
        if not body:
            return "unsent" if is_unsent(request) else "none", b""
        media = headers.get(request.headers, "content-type") or ""
        if media.lower().startswith("multipart/") and (parts := _multipart(media, body)) is not None:
            return "multipart", parts
        try:
            value = canonical.loads(body)
        except ValueError:
            return "bytes", body
        return "json", self._kept(value, request.path)

    def _kept(self, value: Any, path: str) -> Any:
        if isinstance(value, dict):
            if self.rules.defaults:
                drop_defaults(path, value)
            for name in self._names:
                value.pop(name, None)
        if isinstance(value, dict | list):  # python-jsonpath takes a string for a document
            for ignored in self._paths:
                for match in list(ignored.matches(value)):
                    _drop(match)
        return value

    def _normalised(self, value: Any, seen: dict[str, int]) -> Any:
        """Put placeholders into every text of a value, in text order; objects in the order of their names, as in the
        form."""
        match value:
            case str():
                for normaliser in self._normalisers:
                    value = normaliser.of(value, seen)
                return value
            case list():
                return [self._normalised(item, seen) for item in value]
            case Mapping():
                return {name: self._normalised(value[name], seen) for name in sorted(value)}
        return value


def _drop(match: JSONPathMatch) -> None:
    """Remove a match from its parent. In a list it becomes `null`, so that the other items keep their indexes."""
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
    # The library's reader of parameters takes the square of their number (`a=";;;;…"`).
    if len(media) > MAX_MEDIA_TYPE:
        return None
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
