"""Exchanges without their secrets. The one function before keying and before disk.

Pure: the salt comes from the cassette, and the same salt, rules and request give the same bytes. What is masked once
stays as it is, so a key that is derived again from what is stored is the key of the live request.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from urllib.parse import unquote_to_bytes

from replayproxy.core import coding, headers
from replayproxy.core.redaction import credentials as access
from replayproxy.core.redaction import escapes, masks
from replayproxy.core.redaction.credentials import Credentials
from replayproxy.core.redaction.detector import BY_PATH, ROUNDS, Detector, Found, put
from replayproxy.core.redaction.rules import RedactionRules
from replayproxy.core.redaction.stream_redactor import StreamRedactor, Trace, mask_of_value, opaque_masked
from replayproxy.model import End, Head, Headers, Request, Response

SALT_BYTES = 16
"""Of the keyed hashes in masks: as hard to guess as a key."""

REMEMBERED = 16 * 1024
"""Bytes of a request's body from which on what it is without secrets is kept with it."""

_FORM = "application/x-www-form-urlencoded"


class Redactor:
    """By one salt and one set of rules. Raises `SettingsError` for a rule that makes no sense."""

    def __init__(self, salt: bytes, said: Sequence[str] = ()) -> None:
        self.salt = salt
        self._rules = RedactionRules(said)

    def __reduce__(self) -> tuple[type[Redactor], tuple[bytes, tuple[str, ...]]]:
        """Made again in the process that gets it."""
        return Redactor, (self.salt, self.rules)

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules as they were said."""
        return self._rules.said

    def credentials(self, *requests: Request, answered: Headers = ()) -> Credentials:
        """What lets these requests in, and what an answer gives to let the next one in."""
        known = access.of_answer(answered)
        for request in requests:
            known = access.of_request(request) + known
        return known

    # Requests

    def request(self, request: Request, known: Credentials | None = None) -> Request:
        """The request without secrets. `known` are credentials that may echo in it besides its own."""
        if known is not None or len(request.body) < REMEMBERED:
            return self._without_secrets(request, known)
        # A long one is masked for its key, in a thread, and again for the cassette, in the loop: done once.
        if request.masked is None or request.masked[0] is not self:
            object.__setattr__(request, "masked", (self, self._without_secrets(request, None)))
        assert request.masked is not None
        return request.masked[1]

    def _without_secrets(self, request: Request, known: Credentials | None) -> Request:
        own = access.of_request(request)
        finder = self._finder(own if known is None else own + known)
        target = self._target(request.target, finder)
        lines = tuple(self._lines(request.headers, finder))
        body = request.body
        if body and coding.is_coded(request.headers):
            lines, body = self._coded(request, lines, finder)
        elif body:
            body = self._body(body, lines, finder)
        if target is request.target and body is request.body and lines == request.headers:
            return request
        return replace(request, target=target, headers=lines, body=body)

    def _coded(self, request: Request, lines: Headers, finder: Detector) -> tuple[Headers, bytes]:
        """A body in a content coding: as it came where nothing is hidden in it, else what it says, without the coding.

        What cannot be read to its end is masked as far as it can be read, and else by its bytes.
        """
        plain = coding.readable_body(request)
        read = coding.undone(request.headers, request.body)[0] if plain is None else plain
        masked = self._body(read, lines, finder) if read else read
        if masked != read:
            size = str(len(masked))
            lines = headers.without(lines, "content-encoding")
            return tuple((n, size if n.lower() == "content-length" else v) for n, v in lines), masked
        return lines, request.body if plain is not None else opaque_masked(request.body, finder)

    def _finder(self, known: Credentials) -> Detector:
        return Detector(known, self._rules.patterns, self.salt)

    def _lines(self, lines: Headers, finder: Detector) -> Iterator[tuple[str, str]]:
        for name, value in lines:
            if name.lower() in self._rules.headers:
                continue
            if access.names_credential(name):
                yield name, value if masks.is_mask(value.encode("latin-1", "replace")) else "*" * len(value)
            else:
                yield name, finder.mask(value.encode("latin-1", "replace"), json=False).decode("latin-1")

    def _target(self, target: str, finder: Detector) -> str:
        written = target.encode("utf-8", "surrogateescape")
        path, mark, query = written.partition(b"?")
        masked = _percent_masked(path, finder) + mark + (_form_masked(query, finder) if mark else b"")
        return target if masked == written else masked.decode("utf-8", "surrogateescape")

    def _body(self, body: bytes, lines: Headers, finder: Detector) -> bytes:
        media = (headers.get(lines, "content-type") or "").lower()
        if media.startswith(_FORM):
            return _form_masked(body, finder)
        json = _reads_as_json(body)
        if json and self.rules:
            changes = [(one.start, mask_of_value(body, one, self.salt)) for one in self._rules.values(body)]
            body = put(body, changes)
        return finder.mask(body, json=json)

    # Answers

    def veil(self, known: Credentials) -> StreamRedactor:
        """For an answer that comes."""
        return StreamRedactor(known, self._rules, self.salt)

    def response(self, response: Response, known: Credentials) -> Response:
        """A whole answer without secrets."""
        return self.traced(response, known)[0]

    def traced(self, response: Response, known: Credentials) -> tuple[Response, list[Trace]]:
        """A whole answer without secrets; and what was masked in its body, and where."""
        veil = self.veil(known)
        head = Head(response.timeline.head, response.status, response.headers) if response.status else None
        head = veil.head(head) if head is not None else None
        veil.hear(response.chunks())
        head, chunks = veil.finish(head)
        masked = Response.of(head, chunks, End(response.timeline.end, response.ending))
        return masked, veil.found

    # Single texts

    def text(self, text: str, known: Credentials) -> str:
        """A short text, such as a scope, without secrets."""
        return self._finder(known).mask(text.encode("utf-8", "surrogateescape"), json=False).decode("utf-8", "replace")

    def traces(self, body: bytes) -> list[Trace]:
        """What would be masked in a text of its own, and where."""
        json = _reads_as_json(body)
        finder = self._finder(access.NONE)
        found = [Trace(one.start, one.kind) for one in finder.find(body, json=json)] if finder.suspects(body) else []
        if json:
            found += [
                Trace(one.start, BY_PATH)
                for one in self._rules.values(body)
                if mask_of_value(body, one, self.salt) != body[one.start : one.stop]
            ]
        return found


def _reads_as_json(body: bytes) -> bool:
    """As in matching: what reads as JSON is JSON, whatever it is called."""
    return body.lstrip()[:1] in (b"{", b"[", b'"')


def _percent_masked(text: bytes, finder: Detector) -> bytes:
    """A part of a URL, read as written and with its percent codes undone."""
    masked = finder.mask(text, json=False)
    if b"%" not in masked:
        return masked
    for _ in range(ROUNDS):
        read = escapes.of_percent(masked)
        found = finder.find(read.text, json=False)
        changed = put(masked, (_written(read, one, finder) for one in found))
        if changed == masked:
            break
        masked = changed
    return masked


def _written(read: escapes.Spelling, one: Found, finder: Detector) -> tuple[int, bytes]:
    start, stop = read.written(one.start, one.stop)
    return start, finder.mask_of(one._replace(start=start, stop=stop))


def _form_masked(query: bytes, finder: Detector) -> bytes:
    """A query or a form: values that are secrets by their name, and the rest by what it says."""
    parts = query.split(b"&")
    for place, part in enumerate(parts):
        name, mark, value = part.partition(b"=")
        called = unquote_to_bytes(name).decode("latin-1")
        if mark and access.is_secret_parameter(called, value.decode("latin-1")) and not masks.is_mask(value):
            parts[place] = name + mark + masks.constant(len(value))
    return _percent_masked(b"&".join(parts), finder)
