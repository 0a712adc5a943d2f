"""An answer without its secrets, chunk by chunk as it comes. Sizes, boundaries and times stay.

    hear ──▶ held chunks ──▶ decide ──▶ chunks that may be kept        what may yet become a secret is held back

A secret may be cut by HTTP chunks anywhere, and a model that says it three characters a delta spreads it over events:
then it stands in none of them, only in what their texts say together. So both are looked at: the bytes, and for each
choice and field the joined text of the events. An answer with a content coding is held to its end, for only then can
it be read; if it holds a secret it is kept without the coding, since nothing can be masked within it.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

from replayproxy.core import coding, headers
from replayproxy.core.redaction import credentials as access
from replayproxy.core.redaction import event_text, masks, rules
from replayproxy.core.redaction.credentials import Credentials
from replayproxy.core.redaction.detector import BY_PATH, MAX_ROUNDS, Detector, Secret, overwrite
from replayproxy.core.redaction.event_text import Channel, ScatteredText
from replayproxy.core.redaction.rules import RedactionRules
from replayproxy.model import Chunks, Head, Headers

MAX_HELD_BYTES = 64 * 1024 * 1024
"""Bytes of an answer that must be seen whole before anything of it may be kept."""

MAX_LINE_BYTES = 4 * 1024 * 1024
"""Bytes of a line of a stream that is not over yet; of a longer one the beginning is decided without its end."""

RETRY_BYTES = 64 * 1024
"""Bytes. Where more than these had to wait, nothing is tried again before they are half as many more: a line without an
end would be looked at again with every piece of it, which is the square of its length."""

_BACKSLASH = 0x5C

LINEAR_ATTEMPTS = 3
"""Places to cut at that are tried one after the other; then each is half as far as the one before."""

TOO_LONG = "too long to be looked into"

CONTEXT_BYTES = 16
"""Bytes of a decided text that are remembered: a key begins at the beginning of a word."""

MAX_CHANNELS = 1024
"""Texts of an answer whose ends are remembered, those that went on last: an answer may have an index in each event."""

_STREAMS = ("text/event-stream", "ndjson", "jsonl", "json-seq", "stream+json")


class Trace(NamedTuple):
    """Where something was masked, and of which kind it was. Never what it was."""

    at: int
    kind: str


class StreamRedactor:
    """Over one answer. `head` it, `feed` its chunks, `decide` now and then, and once at the end.

    `found` says where, and of which kind; the places are those of the whole body where all of it was decided at once.
    `too_long`: the answer cannot be judged, so nothing of it may be kept.
    """

    def __init__(self, credentials: Credentials, said: RedactionRules, salt: bytes) -> None:
        self._credentials = credentials
        self._rules = said
        self._salt = salt
        self._detector = Detector(credentials, said.patterns, salt)
        self._held: list[Chunks] = []
        self._held_bytes = 0
        self._retry_at = 0
        """Bytes that are not decided, before the next try."""
        self._decided_bytes = 0
        """Bytes of what is held that are decided: a chunk waits for its end, a secret may not."""
        self._is_json = False
        self._is_stream = False
        self._comes_in_parts = False
        self._has_begun = False
        self._is_coded = False
        self._must_be_whole = False
        self._fields = event_text.TextFields()
        self._clean_envelopes = b""
        self._contexts: dict[Channel, bytes] = {}
        self._byte_context = b""
        self.too_long = False
        self.found: list[Trace] = []

    def head(self, head: Head) -> Head:
        """The head as it may be kept; from here on the cookies that it sets are secrets too."""
        self._credentials += access.of_answer(head.headers)
        self._detector = replace(self._detector, credentials=self._credentials)
        media = (headers.get(head.headers, "content-type") or "").lower()
        self._is_stream = any(kind in media for kind in _STREAMS)
        self._is_json = self._is_stream or "json" in media
        self._comes_in_parts = self._is_stream
        self._is_coded = coding.is_coded(head.headers)
        # Where a string begins is known from the beginning alone, and these may stand nowhere else.
        self._must_be_whole = not self._is_stream and not all(map(access.is_simple, self._credentials.needles))
        return head._replace(headers=self.redact_fields(head.headers))

    def redact_fields(self, fields: Headers) -> Headers:
        """The field lines of an answer without secrets, and without those that a rule forbids to store."""
        return tuple(
            (name, access.mask_answer_field(name, self._detector.mask(value.encode("latin-1", "replace"), json=False)))
            for name, value in fields
            if name.lower() not in self._rules.headers
        )

    def feed(self, chunks: Chunks) -> None:
        """Hold some chunks. Costs nothing."""
        self._held.append(chunks)
        self._held_bytes += len(chunks.body)

    @property
    def undecided_bytes(self) -> int:
        """Bytes that are not decided."""
        return self._held_bytes - self._decided_bytes

    def decide(self) -> Chunks:
        """The chunks that may be kept by now: in them there is no secret, and no beginning of one."""
        if self._is_coded or self._rules.needs_whole_body or self._must_be_whole:
            if self._held_bytes > MAX_HELD_BYTES:
                self._refuse()
            return Chunks()
        waiting = self._held_bytes - self._decided_bytes
        if waiting == 0 or waiting < self._retry_at:
            return Chunks()
        if waiting > MAX_HELD_BYTES:
            self._refuse()
            return Chunks()
        held = Chunks.joined(self._held)
        data, safe = self._redact(held.body[self._decided_bytes :], final=False)
        left = waiting - safe
        self._retry_at = left + left // 2 if left > RETRY_BYTES else 0
        decided = self._decided_bytes + safe
        kept, rest = _split(replace(held, body=held.body[: self._decided_bytes] + data), decided)
        self._held = [rest] if rest else []
        self._decided_bytes = decided - len(kept.body)
        self._held_bytes -= len(kept.body)
        return kept

    def _refuse(self) -> None:
        """Nothing of the answer may be kept."""
        self.too_long = True
        self._held.clear()
        self._held_bytes = self._decided_bytes = 0

    def finish(self, head: Head | None) -> tuple[Head | None, Chunks]:
        """The chunks that are left, and the head, which changes where a coding has to go. `head` is as it was given."""
        held = Chunks.joined(self._held)
        self._held = []
        if self._is_coded and head is not None:
            return self._redact_coded(head, held)
        data, _ = self._redact(held.body[self._decided_bytes :], final=True)
        return head, replace(held, body=held.body[: self._decided_bytes] + data)

    # Deciding

    def _redact(self, data: bytes, *, final: bool) -> tuple[bytes, int]:
        """The bytes, as far as they are decided with their masks, and how far that is.

        What is not decided stays as it came, so that what comes is seen beside it as it was. A line that is not over
        yet is not looked at.
        """
        self._detect_format(data.lstrip()[:6])
        rest = b""
        if self._comes_in_parts and not final:
            line = data.rfind(b"\n") + 1
            if line < len(data) < line + MAX_LINE_BYTES:
                data, rest = data[:line], data[line:]
        channels = self._channels(data)
        safe = len(data) if final else self._first_undecided(data, channels)
        if self._may_contain_secret(data, self._fields.envelopes, channels):
            data, safe = (self._mask(data), safe) if final else self._mask_until(data, safe)
            self._keep_context(data[:safe], self._channels(data[:safe]))
        else:
            self._keep_context(data[:safe], channels if safe == len(data) else self._channels(data[:safe]))
        if final:
            data = self._mask_cut_credential(data)
        return data + rest, safe

    def _mask_until(self, data: bytes, safe: int) -> tuple[bytes, int]:
        """Masks before `safe`, or before a place further ahead where nothing is open: nothing stands across it.

        Nor is anything open there once some of it is masked: behind a mask a word begins, and may begin a secret.
        """
        tried = 0
        while safe:
            begun = safe
            for text in self._rounds(data[:safe]):
                begun = min(begun, self._first_undecided(text, self._channels(text)))
                if begun < safe:
                    break
            else:
                return text + data[safe:], safe
            tried += 1
            # Where every line may begin a key, not each is tried: that would take the square of their number.
            safe = begun if tried <= LINEAR_ATTEMPTS else self._held_from(data, begun // 2)
        return data, 0

    def _first_undecided(self, data: bytes, channels: dict[Channel, ScatteredText]) -> int:
        """Where something begins that may yet become a secret."""
        begun = self._detector.incomplete_from(self._byte_context + data) - len(self._byte_context)
        safe = len(data) if begun >= len(data) else self._held_from(data, max(0, begun))
        for channel, joined in channels.items():
            before = self._contexts.get(channel, b"")
            begun = self._detector.incomplete_from(before + joined.text) - len(before)
            if begun < len(joined.text):
                safe = min(safe, self._held_from(data, joined.position_in_whole(max(0, begun))))
        return safe

    def _held_from(self, data: bytes, at: int) -> int:
        """The first byte that must wait for what begins there: of an event the whole line, of an escape all of it."""
        if self._comes_in_parts and ((line := data.rfind(b"\n", 0, at) + 1) or len(data) < MAX_LINE_BYTES):
            return line
        while at and data[at - 1] == _BACKSLASH:
            at -= 1
        return at

    def _keep_context(self, decided: bytes, channels: dict[Channel, ScatteredText]) -> None:
        """What stands before what is not decided."""
        self._byte_context = (self._byte_context + decided)[-CONTEXT_BYTES:]
        for channel, joined in channels.items():
            self._contexts[channel] = (self._contexts.pop(channel, b"") + joined.text[-CONTEXT_BYTES:])[-CONTEXT_BYTES:]
        while len(self._contexts) > MAX_CHANNELS:
            del self._contexts[next(iter(self._contexts))]

    def _detect_format(self, start_of_body: bytes) -> None:
        """What an answer is that does not say so. Gemini streams one JSON list, each of whose objects is an event."""
        if self._has_begun or not start_of_body:
            return
        self._has_begun = True
        self._is_stream = self._is_stream or start_of_body.startswith((b"data:", b"event:"))
        self._is_json = self._is_json or self._is_stream or start_of_body.startswith((b"{", b"["))
        self._comes_in_parts = self._is_stream or start_of_body.startswith(b"[")

    def _may_contain_secret(self, data: bytes, envelopes: bytes, channels: dict[Channel, ScatteredText]) -> bool:
        """Whether a closer look is worth while. Of a stream of tokens only what differs is looked at.

        That is enough: nothing that may be masked stands partly within a string and partly without.
        """
        if not channels:
            return bool(self._rules.paths) or self._detector.may_contain_secret(data)
        if self._rules.needs_whole_body:
            return True
        if envelopes != self._clean_envelopes and self._detector.may_contain_secret(envelopes):
            return True
        self._clean_envelopes = envelopes  # from one second to the next they are the same
        return any(
            self._detector.may_contain_secret(self._contexts.get(channel, b"") + joined.text)
            for channel, joined in channels.items()
        )

    def _mask(self, data: bytes) -> bytes:
        """The bytes with their masks."""
        for masked in self._rounds(data):
            data = masked
        return data

    def _rounds(self, data: bytes) -> Iterator[bytes]:
        """The bytes, and then again with each round of masks, until there is nothing more to be masked."""
        yield data
        for _ in range(MAX_ROUNDS):
            # What events say together comes first: a part of it may look like all of it.
            masked = self._mask_channels(data) if self._comes_in_parts else data
            masked = self._apply(masked, self._detector.find(masked, json=self._is_json))
            masked = self._mask_paths(masked)
            if masked == data:
                return
            data = self._mask_logprobs(data, masked) if event_text.has_logprobs(masked) else masked
            yield data

    def _apply(self, text: bytes, found: list[Secret], place: Callable[[int], int] = lambda at: at) -> bytes:
        """One text with these masks; where that is in the whole is remembered."""
        self.found += [Trace(place(secret.start), secret.kind) for secret in found if not self._is_masked(secret)]
        return overwrite(text, ((secret.start, self._detector.mask_of(secret)) for secret in found))

    def _mask_channels(self, data: bytes) -> bytes:
        """Mask what the events say together."""
        changes: list[tuple[int, bytes]] = []
        for joined in self._channels(data).values():
            if found := self._detector.find(joined.text, json=True, in_string=True):
                changes += joined.split_mask(0, self._apply(joined.text, found, joined.position_in_whole))
        return overwrite(data, changes)

    def _mask_paths(self, data: bytes) -> bytes:
        """Mask what JSONPath rules lead to: of the whole body, or of the data of each event."""
        if not self._rules.paths:
            return data
        changes = []
        for start, stop in self._documents(data):
            document = data[start:stop]
            for value in self._rules.values(document):
                mask = mask_of_value(document, value, self._salt)
                if mask != document[value.start : value.stop]:
                    changes.append((start + value.start, mask))
        self.found += [Trace(start, BY_PATH) for start, _ in changes]
        return overwrite(data, changes)

    def _documents(self, data: bytes) -> Iterator[tuple[int, int]]:
        if not self._is_stream:
            yield 0, len(data)
            return
        for match in re.finditer(rb"^(?:data:)?[ \t]*([\[{][^\r\n]*)", data, re.MULTILINE):
            yield match.span(1)

    def _mask_logprobs(self, before: bytes, data: bytes) -> bytes:
        """Where something was masked, the tokens say it too: mask them, in the same line or body."""
        changes: list[tuple[int, bytes]] = []
        start = 0
        for line in data.splitlines(keepends=True) if self._is_stream else [data]:
            stop = start + len(line)
            if before[start:stop] != line:
                changes += ((start + at, mask) for at, mask in event_text.token_masks(line))
            start = stop
        return overwrite(data, changes)

    def _mask_cut_credential(self, data: bytes) -> bytes:
        """Where an answer breaks off within a credential, there is the beginning of one."""
        size = len(data) - self._credentials.incomplete_from(data)
        if size < access.MIN_CUT_CREDENTIAL:
            return data
        return data[: len(data) - size] + masks.constant(size)

    def _is_masked(self, secret: Secret) -> bool:
        return secret.secret == self._detector.mask_of(secret)

    # What events say together

    def _channels(self, data: bytes) -> dict[Channel, ScatteredText]:
        return self._fields.channels(data) if self._comes_in_parts else {}

    # Content codings

    def _redact_coded(self, head: Head, coded: Chunks) -> tuple[Head, Chunks]:
        """As it came where nothing is hidden in it, else what it says, without the coding.

        What cannot be read to its end is masked as far as it can be read, and else by its bytes.
        """
        decoder = coding.Decoder.of(head.headers)
        said = [decoder.feed(data) for data in coded.data()]
        decoder.finish()
        plain = replace(coded, body=b"".join(said), cuts=tuple(map(len, said)))
        if decoder.state is coding.State.TOO_LONG:
            self.too_long = True
            self.found.append(Trace(0, TOO_LONG))
            return head, coded
        if plain.body:
            stream_redactor = StreamRedactor(self._credentials, self._rules, self._salt)
            bare = stream_redactor.head(head._replace(headers=headers.without(head.headers, "content-encoding")))
            stream_redactor.feed(plain)
            _, masked = stream_redactor.finish(bare)
            self.found = stream_redactor.found
            if masked.body != plain.body:
                size = str(len(plain.body))
                fields = tuple(
                    (name, size if name.lower() == "content-length" else value) for name, value in bare.headers
                )
                return bare._replace(headers=fields), masked
        if decoder.state in coding.READ and plain.body:
            return head, coded
        return head, replace(coded, body=mask_opaque(coded.body, self._detector))


def mask_opaque(body: bytes, detector: Detector) -> bytes:
    """Bytes in a coding that cannot be undone, without the secrets that stand in them as they are.

    Text under the wrong name of a coding is masked as text. In anything else only what cannot stand there by chance is
    looked for: a rule such as `re:[0-9]{4}` would break what a reader who knows the coding could still read.
    """
    if coding.is_text(body):
        return detector.mask(body, json=body.lstrip()[:1] in (b"{", b"[", b'"'))
    return replace(detector, patterns=()).mask(body, json=False)


def _split(chunks: Chunks, safe: int) -> tuple[Chunks, Chunks]:
    """Those that end before `safe`, and the others."""
    if safe >= len(chunks.body):
        return chunks, Chunks()
    stops = list(accumulate(chunks.cuts))
    number = bisect_right(stops, safe)
    stop = stops[number - 1] if number else 0
    kept = bisect_left(chunks.continued, number)
    left = [index - number for index in chunks.continued[kept:]]
    return (
        Chunks(chunks.body[:stop], chunks.cuts[:number], chunks.times[:number], chunks.continued[:kept]),
        Chunks(chunks.body[stop:], chunks.cuts[number:], chunks.times[number:], left),
    )


def mask_of_value(document: bytes, value: rules.Value, salt: bytes) -> bytes:
    """The mask of a scalar: of a string its content, of anything else a number of that length."""
    text = document[value.start : value.stop]
    if not value.is_string:
        return masks.number(len(text))
    return text if masks.is_mask(text) else masks.hashed(len(text), text, salt)
