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
from replayproxy.core.redaction.detector import BY_PATH, ROUNDS, Detector, Found, put
from replayproxy.core.redaction.event_text import Channel, Pieces
from replayproxy.core.redaction.rules import RedactionRules
from replayproxy.model import Chunks, Head, Headers

MOST_HELD = 64 * 1024 * 1024
"""Bytes of an answer that must be seen whole before anything of it may be kept."""

LONGEST_LINE = 4 * 1024 * 1024
"""Bytes of a line of a stream that is not over yet; of a longer one the beginning is decided without its end."""

PATIENCE = 64 * 1024
"""Bytes. Where more than these had to wait, nothing is tried again before they are half as many more: a line without an
end would be looked at again with every piece of it, which is the square of its length."""

BACKSLASH = 0x5C

FEW = 3
"""Places to cut at that are tried one after the other; then each is half as far as the one before."""

TOO_LONG = "too long to be looked into"

BEFORE = 16
"""Bytes of a decided text that are remembered: a key begins at the beginning of a word."""

MOST_CHANNELS = 1024
"""Texts of an answer whose ends are remembered, those that went on last: an answer may have an index in each event."""

_STREAMS = ("text/event-stream", "ndjson", "jsonl", "json-seq", "stream+json")


class Trace(NamedTuple):
    """Where something was masked, and of which kind it was. Never what it was."""

    at: int
    kind: str


class StreamRedactor:
    """Over one answer. `head` it, `hear` its chunks, `decide` now and then, and once at the end.

    `found` says where, and of which kind; the places are those of the whole body where all of it was decided at once.
    `too_long`: the answer cannot be judged, so nothing of it may be kept.
    """

    def __init__(self, credentials: Credentials, said: RedactionRules, salt: bytes) -> None:
        self._credentials = credentials
        self._rules = said
        self._salt = salt
        self._finder = Detector(credentials, said.patterns, salt)
        self._held: list[Chunks] = []
        self._bytes = 0
        self._awaited = 0
        """Bytes that are not decided, before the next try."""
        self._done = 0
        """Bytes of what is held that are decided: a chunk waits for its end, a secret may not."""
        self._is_json = False
        self._is_stream = False
        self._comes_in_parts = False
        self._has_begun = False
        self._is_coded = False
        self._must_be_whole = False
        self._fields = event_text.Fields()
        self._harmless = b""
        self._before: dict[Channel, bytes] = {}
        self._raw_before = b""
        self.too_long = False
        self.found: list[Trace] = []

    def head(self, head: Head) -> Head:
        """The head as it may be kept; from here on the cookies that it sets are secrets too."""
        self._credentials += access.of_answer(head.headers)
        self._finder = replace(self._finder, credentials=self._credentials)
        media = (headers.get(head.headers, "content-type") or "").lower()
        self._is_stream = any(kind in media for kind in _STREAMS)
        self._is_json = self._is_stream or "json" in media
        self._comes_in_parts = self._is_stream
        self._is_coded = coding.is_coded(head.headers)
        # Where a string begins is known from the beginning alone, and these may stand nowhere else.
        self._must_be_whole = not self._is_stream and not all(map(access.is_simple, self._credentials.needles))
        return head._replace(headers=self.lines(head.headers))

    def lines(self, lines: Headers) -> Headers:
        """The field lines of an answer without secrets, and without those that a rule forbids to store."""
        return tuple(
            (name, access.masked_in_answer(name, self._finder.mask(value.encode("latin-1", "replace"), json=False)))
            for name, value in lines
            if name.lower() not in self._rules.headers
        )

    def hear(self, chunks: Chunks) -> None:
        """Hold some chunks. Costs nothing."""
        self._held.append(chunks)
        self._bytes += len(chunks.body)

    @property
    def waiting(self) -> int:
        """Bytes that are not decided."""
        return self._bytes - self._done

    def decide(self) -> Chunks:
        """The chunks that may be kept by now: in them there is no secret, and no beginning of one."""
        if self._is_coded or self._rules.of_bodies or self._must_be_whole:
            if self._bytes > MOST_HELD:
                self._refuse()
            return Chunks()
        waiting = self._bytes - self._done
        if waiting == 0 or waiting < self._awaited:
            return Chunks()
        if waiting > MOST_HELD:
            self._refuse()
            return Chunks()
        held = Chunks.joined(self._held)
        data, safe = self._looked_at(held.body[self._done :], final=False)
        left = waiting - safe
        self._awaited = left + left // 2 if left > PATIENCE else 0
        decided = self._done + safe
        kept, rest = _parted(replace(held, body=held.body[: self._done] + data), decided)
        self._held = [rest] if rest else []
        self._done = decided - len(kept.body)
        self._bytes -= len(kept.body)
        return kept

    def _refuse(self) -> None:
        """Nothing of the answer may be kept."""
        self.too_long = True
        self._held.clear()
        self._bytes = self._done = 0

    def finish(self, head: Head | None) -> tuple[Head | None, Chunks]:
        """The chunks that are left, and the head, which changes where a coding has to go. `head` is as it was given."""
        held = Chunks.joined(self._held)
        self._held = []
        if self._is_coded and head is not None:
            return self._decoded(head, held)
        data, _ = self._looked_at(held.body[self._done :], final=True)
        return head, replace(held, body=held.body[: self._done] + data)

    # Deciding

    def _looked_at(self, data: bytes, *, final: bool) -> tuple[bytes, int]:
        """The bytes, as far as they are decided with their masks, and how far that is.

        What is not decided stays as it came, so that what comes is seen beside it as it was. A line that is not over
        yet is not looked at.
        """
        self._guess(data.lstrip()[:6])
        rest = b""
        if self._comes_in_parts and not final:
            line = data.rfind(b"\n") + 1
            if line < len(data) < line + LONGEST_LINE:
                data, rest = data[:line], data[line:]
        channels = self._channels(data)
        safe = len(data) if final else self._undecided(data, channels)
        if self._suspects(data, self._fields.envelopes, channels):
            data, safe = (self._masked(data), safe) if final else self._masked_until(data, safe)
            self._remember(data[:safe], self._channels(data[:safe]))
        else:
            self._remember(data[:safe], channels if safe == len(data) else self._channels(data[:safe]))
        if final:
            data = self._without_end(data)
        return data + rest, safe

    def _masked_until(self, data: bytes, safe: int) -> tuple[bytes, int]:
        """Masks before `safe`, or before a place further ahead where nothing is open: nothing stands across it.

        Nor is anything open there once some of it is masked: behind a mask a word begins, and may begin a secret.
        """
        tried = 0
        while safe:
            begun = safe
            for text in self._rounds(data[:safe]):
                begun = min(begun, self._undecided(text, self._channels(text)))
                if begun < safe:
                    break
            else:
                return text + data[safe:], safe
            tried += 1
            # Where every line may begin a key, not each is tried: that would take the square of their number.
            safe = begun if tried <= FEW else self._begun(data, begun // 2)
        return data, 0

    def _undecided(self, data: bytes, channels: dict[Channel, Pieces]) -> int:
        """Where something begins that may yet become a secret."""
        begun = self._finder.open_at(self._raw_before + data) - len(self._raw_before)
        safe = len(data) if begun >= len(data) else self._begun(data, max(0, begun))
        for channel, pieces in channels.items():
            before = self._before.get(channel, b"")
            begun = self._finder.open_at(before + pieces.text) - len(before)
            if begun < len(pieces.text):
                safe = min(safe, self._begun(data, pieces.place(max(0, begun))))
        return safe

    def _begun(self, data: bytes, at: int) -> int:
        """The first byte that must wait for what begins there: of an event the whole line, of an escape all of it."""
        if self._comes_in_parts and ((line := data.rfind(b"\n", 0, at) + 1) or len(data) < LONGEST_LINE):
            return line
        while at and data[at - 1] == BACKSLASH:
            at -= 1
        return at

    def _remember(self, decided: bytes, channels: dict[Channel, Pieces]) -> None:
        """What stands before what is not decided."""
        self._raw_before = (self._raw_before + decided)[-BEFORE:]
        for channel, pieces in channels.items():
            self._before[channel] = (self._before.pop(channel, b"") + pieces.text[-BEFORE:])[-BEFORE:]
        while len(self._before) > MOST_CHANNELS:
            del self._before[next(iter(self._before))]

    def _guess(self, begins: bytes) -> None:
        """What an answer is that does not say so. Gemini streams one JSON list, each of whose objects is an event."""
        if self._has_begun or not begins:
            return
        self._has_begun = True
        self._is_stream = self._is_stream or begins.startswith((b"data:", b"event:"))
        self._is_json = self._is_json or self._is_stream or begins.startswith((b"{", b"["))
        self._comes_in_parts = self._is_stream or begins.startswith(b"[")

    def _suspects(self, data: bytes, envelopes: bytes, channels: dict[Channel, Pieces]) -> bool:
        """Whether a closer look is worth while. Of a stream of tokens only what differs is looked at.

        That is enough: nothing that may be masked stands partly within a string and partly without.
        """
        if not channels:
            return bool(self._rules.paths) or self._finder.suspects(data)
        if self._rules.of_bodies:
            return True
        if envelopes != self._harmless and self._finder.suspects(envelopes):
            return True
        self._harmless = envelopes  # from one second to the next they are the same
        return any(
            self._finder.suspects(self._before.get(channel, b"") + pieces.text) for channel, pieces in channels.items()
        )

    def _masked(self, data: bytes) -> bytes:
        """The bytes with their masks."""
        for masked in self._rounds(data):
            data = masked
        return data

    def _rounds(self, data: bytes) -> Iterator[bytes]:
        """The bytes, and then again with each round of masks, until there is nothing more to be masked."""
        yield data
        for _ in range(ROUNDS):
            # What events say together comes first: a part of it may look like all of it.
            masked = self._over_events(data) if self._comes_in_parts else data
            masked = self._put(masked, self._finder.find(masked, json=self._is_json))
            masked = self._by_paths(masked)
            if masked == data:
                return
            data = self._without_logprobs(data, masked) if event_text.has_tokens(masked) else masked
            yield data

    def _put(self, text: bytes, found: list[Found], place: Callable[[int], int] = lambda at: at) -> bytes:
        """One text with these masks; where that is in the whole is remembered."""
        self.found += [Trace(place(one.start), one.kind) for one in found if not self._is_masked(one)]
        return put(text, ((one.start, self._finder.mask_of(one)) for one in found))

    def _over_events(self, data: bytes) -> bytes:
        """Mask what the events say together."""
        changes: list[tuple[int, bytes]] = []
        for pieces in self._channels(data).values():
            if found := self._finder.find(pieces.text, json=True, within=True):
                changes += pieces.changes(0, self._put(pieces.text, found, pieces.place))
        return put(data, changes)

    def _by_paths(self, data: bytes) -> bytes:
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
        return put(data, changes)

    def _documents(self, data: bytes) -> Iterator[tuple[int, int]]:
        if not self._is_stream:
            yield 0, len(data)
            return
        for match in re.finditer(rb"^(?:data:)?[ \t]*([\[{][^\r\n]*)", data, re.MULTILINE):
            yield match.span(1)

    def _without_logprobs(self, before: bytes, data: bytes) -> bytes:
        """Where something was masked, the tokens say it too: mask them, in the same line or body."""
        changes: list[tuple[int, bytes]] = []
        start = 0
        for line in data.splitlines(keepends=True) if self._is_stream else [data]:
            stop = start + len(line)
            if before[start:stop] != line:
                changes += ((start + at, mask) for at, mask in event_text.tokens_masked(line))
            start = stop
        return put(data, changes)

    def _without_end(self, data: bytes) -> bytes:
        """Where an answer breaks off within a credential, there is the beginning of one."""
        size = len(data) - self._credentials.open_at(data)
        if size < access.SHORTEST_END:
            return data
        return data[: len(data) - size] + masks.constant(size)

    def _is_masked(self, one: Found) -> bool:
        return one.secret == self._finder.mask_of(one)

    # What events say together

    def _channels(self, data: bytes) -> dict[Channel, Pieces]:
        return self._fields.channels(data) if self._comes_in_parts else {}

    # Content codings

    def _decoded(self, head: Head, coded: Chunks) -> tuple[Head, Chunks]:
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
            veil = StreamRedactor(self._credentials, self._rules, self._salt)
            bare = veil.head(head._replace(headers=headers.without(head.headers, "content-encoding")))
            veil.hear(plain)
            _, masked = veil.finish(bare)
            self.found = veil.found
            if masked.body != plain.body:
                size = str(len(plain.body))
                lines = tuple(
                    (name, size if name.lower() == "content-length" else value) for name, value in bare.headers
                )
                return bare._replace(headers=lines), masked
        if decoder.state in coding.READ and plain.body:
            return head, coded
        return head, replace(coded, body=opaque_masked(coded.body, self._finder))


def opaque_masked(body: bytes, finder: Detector) -> bytes:
    """Bytes in a coding that cannot be undone, without the secrets that stand in them as they are.

    Text under the wrong name of a coding is masked as text. In anything else only what cannot stand there by chance is
    looked for: a rule such as `re:[0-9]{4}` would break what a reader who knows the coding could still read.
    """
    if coding.is_text(body):
        return finder.mask(body, json=body.lstrip()[:1] in (b"{", b"[", b'"'))
    return replace(finder, patterns=()).mask(body, json=False)


def _parted(chunks: Chunks, safe: int) -> tuple[Chunks, Chunks]:
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
