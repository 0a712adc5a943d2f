"""Redact an answer chunk by chunk, as it arrives. Sizes, chunk boundaries and times do not change.

    feed ──▶ held chunks ──▶ decide ──▶ chunks that may be stored      bytes that may begin a secret are held back

A secret may be split at any byte between HTTP chunks. A model that emits it three characters per delta spreads it over
several events, so that no event contains it, only the joined text of their fields. Therefore both are searched: the raw
bytes, and per choice and field the joined text of the events.

An answer with a content coding is held to its end, because it can be decoded only then. If it contains a secret it is
stored decoded, because nothing can be masked within compressed bytes.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import Enum, auto
from itertools import accumulate
from typing import NamedTuple

from replayproxy.core import coding, headers
from replayproxy.core.coding_layers import READ, DecodedState
from replayproxy.core.redaction import credentials as access
from replayproxy.core.redaction import event_text, masks, rules
from replayproxy.core.redaction.credentials import Credentials
from replayproxy.core.redaction.detector import BY_PATH, MAX_ROUNDS, Detector, Secret, overwrite
from replayproxy.core.redaction.event_text import Channel, Format, ScatteredText
from replayproxy.core.redaction.rules import RedactionRules
from replayproxy.model import Chunks, Head, Headers

MAX_HELD_BYTES = 64 * 1024 * 1024
"""Limit for the bytes of an answer that is held to its end before any of it may be stored."""

MAX_LINE_BYTES = 4 * 1024 * 1024
"""Bytes of an unfinished line of a stream. The start of a longer line is decided without its end."""

RETRY_BYTES = 64 * 1024
"""If more bytes than these had to wait, the next attempt is made when half as many more have arrived. Without this, a
line without an end would be read again with every chunk: quadratic in its length."""

_BACKSLASH = 0x5C

LINEAR_ATTEMPTS = 3
"""Number of cut positions that are tried in order; after these each attempt halves the distance."""

TOO_LONG = "too long to be looked into"

CONTEXT_BYTES = 16
"""Bytes of decided text that are kept as context: a key must begin at the start of a word."""

MAX_CHANNELS = 1024
"""Number of texts whose last bytes are kept, least recently used dropped first: an answer may carry a new index in each
event."""


class Trace(NamedTuple):
    """Position and kind of a masked secret, never the secret itself."""

    at: int
    kind: str


class RedactionState(Enum):
    """How far the redaction of one answer is."""

    STREAMING = auto()
    HOLDING = auto()
    """Held to its end: it has a content coding, or a rule or a credential needs the whole body."""
    TOO_LONG = auto()
    """Cannot be searched: nothing of it may be stored."""
    FINISHED = auto()


class StreamRedactor:
    """Redacts one answer: call `head`, then `feed` per chunk and `decide` at any time, then `finish` once.

    `found` lists what was masked; its positions refer to the whole body if the body was decided at once. If `too_long`
    is true, the answer cannot be searched and nothing of it may be stored.
    """

    def __init__(self, credentials: Credentials, redaction_rules: RedactionRules, salt: bytes) -> None:
        self._credentials = credentials
        self._rules = redaction_rules
        self._salt = salt
        self._detector = Detector(credentials, redaction_rules.patterns, salt)
        self._held: list[Chunks] = []
        self._held_bytes = 0
        self._retry_at = 0
        """Number of undecided bytes at which `decide` tries again."""
        self._decided_bytes = 0
        """Decided bytes at the start of the held chunks: a chunk is returned whole, a decision may end within it."""
        self._format = Format.TEXT
        self._is_format_final = False
        self._has_coding = False
        self._state = RedactionState.HOLDING if redaction_rules.needs_whole_body else RedactionState.STREAMING
        self._fields = event_text.TextFields()
        self._clean_envelopes = b""
        self._contexts: dict[Channel, bytes] = {}
        self._byte_context = b""
        self.found: list[Trace] = []

    def __repr__(self) -> str:
        return f"<StreamRedactor {self._state.name} {self._format.name}, {self.undecided_bytes} bytes undecided>"

    @property
    def too_long(self) -> bool:
        """Whether the answer cannot be searched, so that nothing of it may be stored."""
        return self._state is RedactionState.TOO_LONG

    def head(self, head: Head) -> Head:
        """Return the head as it may be stored. The cookies that it sets are secrets of the body from now on."""
        self._credentials += access.of_answer(head.headers)
        self._detector = replace(self._detector, credentials=self._credentials)
        media = (headers.get(head.headers, "content-type") or "").lower()
        self._format = Format.declared(media)
        self._has_coding = coding.is_coded(head.headers)
        # A credential with quotes or spaces is masked only within JSON strings, and whether a byte is within a string
        # can be decided only when the body is read from its start.
        needs_start = self._format is not Format.EVENTS and not all(map(access.is_simple, self._credentials.needles))
        if self._has_coding or needs_start:
            self._state = RedactionState.HOLDING
        return head._replace(headers=self.redact_fields(head.headers))

    def redact_fields(self, fields: Headers) -> Headers:
        """Mask secrets in the header fields and drop fields that a rule excludes."""
        return tuple(
            (name, access.mask_answer_field(name, self._detector.mask(value.encode("latin-1", "replace"), json=False)))
            for name, value in fields
            if name.lower() not in self._rules.headers
        )

    def feed(self, chunks: Chunks) -> None:
        """Hold some chunks. Does no work; drops them if the answer is too long."""
        if self._state is RedactionState.TOO_LONG:
            return
        self._held.append(chunks)
        self._held_bytes += len(chunks.body)

    @property
    def undecided_bytes(self) -> int:
        """Number of bytes that are not decided."""
        return self._held_bytes - self._decided_bytes

    def decide(self) -> Chunks:
        """Return the chunks that may be stored now. They contain neither a secret nor the start of one."""
        if self._state is RedactionState.TOO_LONG:
            return Chunks()
        if self._state is RedactionState.HOLDING:
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
        """Discard the answer: nothing of it may be stored."""
        self._state = RedactionState.TOO_LONG
        self._held.clear()
        self._held_bytes = self._decided_bytes = 0

    def finish(self, head: Head | None) -> tuple[Head | None, Chunks]:
        """Return the head and the remaining chunks. `head` is the original one; it changes if the coding has to go."""
        held = Chunks.joined(self._held)
        self._held = []
        if self._state is not RedactionState.TOO_LONG:
            self._state = RedactionState.FINISHED
        if self._has_coding and head is not None:
            return self._redact_coded(head, held)
        data, _ = self._redact(held.body[self._decided_bytes :], final=True)
        return head, replace(held, body=held.body[: self._decided_bytes] + data)

    # Deciding

    def _redact(self, data: bytes, *, final: bool) -> tuple[bytes, int]:
        """Return the bytes, masked as far as they are decided, and the number of decided bytes.

        Undecided bytes stay unmasked, so that later bytes are searched together with the originals. An unfinished line
        is not searched.
        """
        start = data.lstrip()[:6]
        if start and not self._is_format_final:
            self._format = self._format.seen_from(start)
            self._is_format_final = True
        rest = b""
        if self._format.comes_in_parts and not final:
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
        """Mask everything before `safe`, or before an earlier position at which no secret may begin."""
        tried = 0
        # Check again after masking: a mask ends a word, so a new secret may begin right behind it.
        while safe:
            start = safe
            for text in self._rounds(data[:safe]):
                start = min(start, self._first_undecided(text, self._channels(text)))
                if start < safe:
                    break
            else:
                return text + data[safe:], safe
            tried += 1
            # Attack: a body in which each line may begin a key. To try each position would be quadratic.
            safe = start if tried <= LINEAR_ATTEMPTS else self._held_from(data, start // 2)
        return data, 0

    def _first_undecided(self, data: bytes, channels: dict[Channel, ScatteredText]) -> int:
        """Return the position of the first byte that may begin a secret whose end has not arrived."""
        start = self._detector.incomplete_from(self._byte_context + data) - len(self._byte_context)
        safe = len(data) if start >= len(data) else self._held_from(data, max(0, start))
        for channel, joined in channels.items():
            before = self._contexts.get(channel, b"")
            start = self._detector.incomplete_from(before + joined.text) - len(before)
            if start < len(joined.text):
                safe = min(safe, self._held_from(data, joined.position_in_whole(max(0, start))))
        return safe

    def _held_from(self, data: bytes, at: int) -> int:
        """Return the first byte to hold if a secret may begin at `at`: the start of its event line, or of its
        escape."""
        if self._format.comes_in_parts and ((line := data.rfind(b"\n", 0, at) + 1) or len(data) < MAX_LINE_BYTES):
            return line
        while at and data[at - 1] == _BACKSLASH:
            at -= 1
        return at

    def _keep_context(self, decided: bytes, channels: dict[Channel, ScatteredText]) -> None:
        """Keep the last decided bytes, raw and per channel, as context for the undecided ones."""
        self._byte_context = (self._byte_context + decided)[-CONTEXT_BYTES:]
        for channel, joined in channels.items():
            self._contexts[channel] = (self._contexts.pop(channel, b"") + joined.text[-CONTEXT_BYTES:])[-CONTEXT_BYTES:]
        while len(self._contexts) > MAX_CHANNELS:
            del self._contexts[next(iter(self._contexts))]

    def _may_contain_secret(self, data: bytes, envelopes: bytes, channels: dict[Channel, ScatteredText]) -> bool:
        """Return whether a full search is needed. In a token stream only what changes is searched."""
        # This is sufficient: a secret never lies partly within a JSON string and partly outside.
        if not channels:
            return bool(self._rules.paths) or self._detector.may_contain_secret(data)
        if self._rules.needs_whole_body:
            return True
        if envelopes != self._clean_envelopes and self._detector.may_contain_secret(envelopes):
            return True
        self._clean_envelopes = envelopes  # consecutive calls see the same envelopes
        return any(
            self._detector.may_contain_secret(self._contexts.get(channel, b"") + joined.text)
            for channel, joined in channels.items()
        )

    def _mask(self, data: bytes) -> bytes:
        """Return the bytes with all secrets masked."""
        for masked in self._rounds(data):
            data = masked
        return data

    def _rounds(self, data: bytes) -> Iterator[bytes]:
        """Yield the bytes, then the bytes after each round of masking, until a round finds nothing."""
        yield data
        for _ in range(MAX_ROUNDS):
            # Channels first: the part of a secret within one event may itself match as a shorter secret.
            masked = self._mask_channels(data) if self._format.comes_in_parts else data
            masked = self._apply(masked, self._detector.find(masked, json=self._format is not Format.TEXT))
            masked = self._mask_paths(masked)
            if masked == data:
                return
            data = self._mask_logprobs(data, masked) if event_text.has_logprobs(masked) else masked
            yield data

    def _apply(self, text: bytes, found: list[Secret], place: Callable[[int], int] = lambda at: at) -> bytes:
        """Mask these secrets in one text and record where they are in the whole body."""
        self.found += [Trace(place(secret.start), secret.kind) for secret in found if not self._is_masked(secret)]
        return overwrite(text, ((secret.start, self._detector.mask_of(secret)) for secret in found))

    def _mask_channels(self, data: bytes) -> bytes:
        """Mask secrets in the joined texts of the events."""
        changes: list[tuple[int, bytes]] = []
        for joined in self._channels(data).values():
            if found := self._detector.find(joined.text, json=True, in_string=True):
                changes += joined.split_mask(0, self._apply(joined.text, found, joined.position_in_whole))
        return overwrite(data, changes)

    def _mask_paths(self, data: bytes) -> bytes:
        """Mask the values that JSONPath rules select, in the body or in the data of each event."""
        if not self._rules.paths:
            return data
        changes = []
        for start, stop in self._documents(data):
            document = data[start:stop]
            for value in self._rules.values(document):
                mask = rules.mask_of_value(document, value, self._salt)
                if mask != document[value.start : value.stop]:
                    changes.append((start + value.start, mask))
        self.found += [Trace(start, BY_PATH) for start, _ in changes]
        return overwrite(data, changes)

    def _documents(self, data: bytes) -> Iterator[tuple[int, int]]:
        if self._format is not Format.EVENTS:
            yield 0, len(data)
            return
        for match in re.finditer(rb"^(?:data:)?[ \t]*([\[{][^\r\n]*)", data, re.MULTILINE):
            yield match.span(1)

    def _mask_logprobs(self, before: bytes, data: bytes) -> bytes:
        """Mask the tokens of log probabilities in each line (or body) in which something was masked: they repeat the
        text."""
        changes: list[tuple[int, bytes]] = []
        start = 0
        for line in data.splitlines(keepends=True) if self._format is Format.EVENTS else [data]:
            stop = start + len(line)
            if before[start:stop] != line:
                changes += ((start + at, mask) for at, mask in event_text.token_masks(line))
            start = stop
        return overwrite(data, changes)

    def _mask_cut_credential(self, data: bytes) -> bytes:
        """Mask the start of a credential at the end of an answer that was cut."""
        size = len(data) - self._credentials.incomplete_from(data)
        if size < access.MIN_CUT_CREDENTIAL:
            return data
        return data[: len(data) - size] + masks.constant(size)

    def _is_masked(self, secret: Secret) -> bool:
        return secret.secret == self._detector.mask_of(secret)

    # Joined texts of the events

    def _channels(self, data: bytes) -> dict[Channel, ScatteredText]:
        return self._fields.channels(data) if self._format.comes_in_parts else {}

    # Content codings

    def _redact_coded(self, head: Head, coded: Chunks) -> tuple[Head, Chunks]:
        """Return a compressed answer unchanged if it contains no secret, otherwise decoded and masked.

        If it cannot be decoded to its end, the decodable part is masked; if nothing can be decoded, the raw bytes are.
        """
        decoder = coding.Decoder.of(head.headers)
        decoded = [decoder.feed(data) for data in coded.data()]
        decoder.finish()
        plain = replace(coded, body=b"".join(decoded), cuts=tuple(map(len, decoded)))
        if decoder.state is DecodedState.TOO_LONG:
            self._state = RedactionState.TOO_LONG
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
        if decoder.state in READ and plain.body:
            return head, coded
        return head, replace(coded, body=self._detector.mask_opaque(coded.body))


def _split(chunks: Chunks, safe: int) -> tuple[Chunks, Chunks]:
    """Split chunks into those that end before `safe` and the rest."""
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
