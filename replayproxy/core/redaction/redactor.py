"""Remove secrets from exchanges. The same function is applied before keying and before storing.

Pure: the salt comes from the cassette, and equal salt, rules and request give equal bytes. Redacting twice changes
nothing, so the key of a stored request equals the key of the live one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from urllib.parse import unquote_to_bytes

from replayproxy.core import coding, headers
from replayproxy.core.redaction import credentials as access
from replayproxy.core.redaction import escapes, masks
from replayproxy.core.redaction.credentials import Credentials
from replayproxy.core.redaction.detector import BY_PATH, MAX_ROUNDS, Detector, Secret, overwrite
from replayproxy.core.redaction.rules import RedactionRules, mask_of_value
from replayproxy.core.redaction.stream_redactor import StreamRedactor, Trace
from replayproxy.model import End, Head, Headers, Request, Response

SALT_BYTES = 16
"""Length of the salt of the keyed hashes: as hard to guess as a key."""

CACHED_BODY_BYTES = 16 * 1024
"""Length of a request body from which its redacted form is kept with the request even if it has no secrets."""

_FORM = "application/x-www-form-urlencoded"


class Redactor:
    """Redacts with one salt and one set of rules. Raises `SettingsError` for an invalid rule."""

    def __init__(self, salt: bytes, rules: Sequence[str] = ()) -> None:
        self.salt = salt
        self._rules = RedactionRules(rules)

    def __reduce__(self) -> tuple[type[Redactor], tuple[bytes, tuple[str, ...]]]:
        """Pickle salt and rules; the receiving process parses them again."""
        return Redactor, (self.salt, self.rules)

    @classmethod
    def extended(cls, own: Redactor | None, rules: Sequence[str], salt: bytes) -> Redactor:
        """Return the redactor of a cassette with more rules; of one without a redactor, a new one with this salt."""
        if own is None:
            return cls(salt, rules)
        return cls(own.salt, (*own.rules, *(rule for rule in rules if rule not in own.rules)))

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules as given."""
        return self._rules.source

    def credentials(self, *requests: Request, answered: Headers = ()) -> Credentials:
        """Return the credentials of these requests, and those that an answer hands out for the next one."""
        credentials = access.of_answer(answered)
        for request in requests:
            credentials = access.of_request(request) + credentials
        return credentials

    # Requests

    def request(self, request: Request, credentials: Credentials | None = None) -> Request:
        """Return the request without secrets. `credentials`: those of other requests that this one may repeat."""
        if credentials is not None:
            return self._without_secrets(request, credentials)
        if request.masked is not None and request.masked[0] is self:
            return request.masked[1]
        masked = self._without_secrets(request, None)
        # Needed twice: for the key and for the cassette. A short request without secrets is searched again, because to
        # keep it in itself is a reference cycle, which only the garbage collector ends.
        if masked is not request or len(request.body) >= CACHED_BODY_BYTES:
            object.__setattr__(request, "masked", (self, masked))
        return masked

    def mark_masked(self, request: Request) -> None:
        """Note that a request has no secrets any more, so that it is not searched again when its key is derived."""
        object.__setattr__(request, "masked", (self, request))

    def _without_secrets(self, request: Request, credentials: Credentials | None) -> Request:
        own = access.of_request(request)
        detector = self._detector(own if credentials is None else own + credentials)
        target = self._target(request.target, detector)
        lines = tuple(self._lines(request.headers, detector))
        body = request.body
        if body and coding.is_coded(request.headers):
            lines, body = self._coded(request, lines, detector)
        elif body:
            body = self._body(body, lines, detector)
        if target is request.target and body is request.body and lines == request.headers:
            return request
        return replace(request, target=target, headers=lines, body=body)

    def _coded(self, request: Request, lines: Headers, detector: Detector) -> tuple[Headers, bytes]:
        """Return a compressed body unchanged if it contains no secret, otherwise decoded and masked.

        If it cannot be decoded to its end, the decodable part is masked; if nothing can be decoded, the raw bytes are.
        """
        plain = coding.readable_body(request)
        read = coding.undone(request.headers, request.body)[0] if plain is None else plain
        masked = self._body(read, lines, detector) if read else read
        if masked != read:
            size = str(len(masked))
            lines = headers.without(lines, "content-encoding")
            return tuple((n, size if n.lower() == "content-length" else v) for n, v in lines), masked
        return lines, request.body if plain is not None else detector.mask_opaque(request.body)

    def _detector(self, credentials: Credentials) -> Detector:
        return Detector(credentials, self._rules.patterns, self.salt)

    def _lines(self, lines: Headers, detector: Detector) -> Iterator[tuple[str, str]]:
        for name, value in lines:
            if name.lower() in self._rules.headers:
                continue
            if access.names_credential(name):
                yield name, value if masks.is_mask(value.encode("latin-1", "replace")) else "*" * len(value)
            else:
                yield name, detector.mask(value.encode("latin-1", "replace"), json=False).decode("latin-1")

    def _target(self, target: str, detector: Detector) -> str:
        written = target.encode("utf-8", "surrogateescape")
        path, mark, query = written.partition(b"?")
        masked = _percent_masked(path, detector) + mark + (_form_masked(query, detector) if mark else b"")
        return target if masked == written else masked.decode("utf-8", "surrogateescape")

    def _body(self, body: bytes, lines: Headers, detector: Detector) -> bytes:
        media = (headers.get(lines, "content-type") or "").lower()
        if media.startswith(_FORM):
            return _form_masked(body, detector)
        json = _reads_as_json(body)
        if json and self.rules:
            changes = [(value.start, mask_of_value(body, value, self.salt)) for value in self._rules.values(body)]
            body = overwrite(body, changes)
        return detector.mask(body, json=json)

    # Answers

    def stream_redactor(self, credentials: Credentials) -> StreamRedactor:
        """Return a redactor for one answer that arrives in chunks."""
        return StreamRedactor(credentials, self._rules, self.salt)

    def response(self, response: Response, credentials: Credentials) -> Response:
        """Return a whole answer without secrets."""
        return self.response_with_traces(response, credentials)[0]

    def response_with_traces(self, response: Response, credentials: Credentials) -> tuple[Response, list[Trace]]:
        """Return a whole answer without secrets, and what was masked in its body."""
        stream_redactor = self.stream_redactor(credentials)
        head = Head(response.timeline.head, response.status, response.headers) if response.status else None
        head = stream_redactor.head(head) if head is not None else None
        stream_redactor.feed(response.chunks())
        head, chunks = stream_redactor.finish(head)
        masked = Response.of(head, chunks, End(response.timeline.end, response.ending))
        return masked, stream_redactor.found

    # Single texts

    def text(self, text: str, credentials: Credentials) -> str:
        """Return a short text, such as a scope, without secrets."""
        masked = self._detector(credentials).mask(text.encode("utf-8", "surrogateescape"), json=False)
        return masked.decode("utf-8", "replace")

    def traces(self, body: bytes) -> list[Trace]:
        """Return what would be masked in a text, without credentials of a request."""
        json = _reads_as_json(body)
        detector = self._detector(access.NONE)
        secrets = detector.find(body, json=json) if detector.may_contain_secret(body) else []
        found = [Trace(secret.start, secret.kind) for secret in secrets]
        if json:
            found += [
                Trace(value.start, BY_PATH)
                for value in self._rules.values(body)
                if mask_of_value(body, value, self.salt) != body[value.start : value.stop]
            ]
        return found


def _reads_as_json(body: bytes) -> bool:
    """Return whether a body is treated as JSON, by its first byte, whatever its content type. Matching does the
    same."""
    return body.lstrip()[:1] in (b"{", b"[", b'"')


def _percent_masked(text: bytes, detector: Detector) -> bytes:
    """Mask a part of a URL, both as written and with its percent codes undone."""
    masked = detector.mask(text, json=False)
    if b"%" not in masked:
        return masked
    for _ in range(MAX_ROUNDS):
        read = escapes.unescape_percent(masked)
        found = detector.find(read.text, json=False)
        changed = overwrite(masked, (_mask_in_source(read, secret, detector) for secret in found))
        if changed == masked:
            break
        masked = changed
    return masked


def _mask_in_source(read: escapes.Unescaped, secret: Secret, detector: Detector) -> tuple[int, bytes]:
    start, stop = read.source_span(secret.start, secret.stop)
    return start, detector.mask_of(secret._replace(start=start, stop=stop))


def _form_masked(query: bytes, detector: Detector) -> bytes:
    """Mask a query or a form: values that are secret by their name, and secrets in the rest."""
    parts = query.split(b"&")
    for place, part in enumerate(parts):
        name, mark, value = part.partition(b"=")
        called = unquote_to_bytes(name).decode("latin-1")
        if mark and access.is_secret_parameter(called, value.decode("latin-1")) and not masks.is_mask(value):
            parts[place] = name + mark + masks.constant(len(value))
    return _percent_masked(b"&".join(parts), detector)
