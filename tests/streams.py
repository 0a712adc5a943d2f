"""Streams of events as no server spells them and the standard allows: made from a seed, with an oracle of their own.

    events ──▶ spelled (line ends, spaces, comments, names, cuts of JSON) ──▶ coded ──▶ chunks ──▶ the client leaves

The oracle knows nothing of the code that it judges: it decodes what has been received in one piece, splits it with a
regular expression, and reads each event with the standard library.
"""

from __future__ import annotations

import gzip
import itertools
import json
import random
import re
import zlib
from dataclasses import dataclass

import brotli
import zstandard

from replayproxy.model import Headers

CHAT = ("/v1/chat/completions", "/v1/completions", "//v1/chat/completions/", "/openai/deployments/a/chat/completions")
RESPONSES = ("/v1/responses", "/proxy/v1/responses/")
MESSAGES = ("/v1/messages", "/anthropic/v1/messages")
OTHERS = ("/generate", "/v1/audio/speech", "/v1/realtime", "/v1/responses/resp_1", "/")
PATHS = CHAT + RESPONSES + MESSAGES + OTHERS

RESPONSE_ENDS = ("response.completed", "response.failed", "response.incomplete")
OTHER_ENDS = (
    *(*RESPONSE_ENDS, "message_stop", "response.done", "speech.audio.done", "transcript.text.done"),
    *("image_generation.completed", "image_edit.completed"),
)

CODINGS = ("", "", "", "identity", "gzip", "deflate", "br", "zstd", "gzip, zstd", "rot13")

_ROTATED = bytes((byte + 13) % 256 for byte in range(256))

Event = tuple[bytes, bytes]
"""A name, which may be empty, and data."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What a client gets before it leaves, and the whole of it."""

    path: str
    fields: Headers
    chunks: tuple[bytes, ...]
    """As they are received."""
    received: int
    """How many of them have come when the client leaves."""

    @property
    def coding(self) -> str:
        """Of the body."""
        return next((value for name, value in self.fields if name == "Content-Encoding"), "")

    def ended(self) -> bool:
        """Whether the event that ends the stream is among what was received: the oracle."""
        body = decoded(self.coding, b"".join(self.chunks[: self.received]))
        return has_ended(self.path, events_in(body)) if body is not None else False

    def promises(self) -> bool:
        """Whether a stream of this kind that has no such event is cut, though its connection ended well."""
        return self.path in CHAT + RESPONSES + MESSAGES and self.coding != "rot13"


# Making one


def made(seed: int) -> Stream:
    """The stream of this seed."""
    draw = random.Random(seed)
    path = draw.choice(PATHS)
    coding = draw.choice(CODINGS)
    parts = spelled(draw, conversation(draw, path))
    body = coded(draw, coding, parts)
    chunks = cut(draw, body)
    fields: Headers = (("Content-Type", "text/event-stream; charset=utf-8"),)
    if coding:
        fields = (*fields, ("Content-Encoding", coding))
    received = len(chunks) if draw.random() < 0.4 else draw.randint(0, len(chunks))
    return Stream(path, fields, chunks, received)


def conversation(draw: random.Random, path: str) -> list[Event]:
    """Tokens, perhaps an end, perhaps an end of somebody else, perhaps more tokens."""
    events = [_token(draw) for _ in range(draw.choice((0, 1, 2, 5, 9)))]
    for _ in range(draw.choice((0, 1, 1, 1, 2))):
        events.append(_end(draw, path))
        if draw.random() < 0.2:
            events.append(_token(draw))
    return events


_TEXTS = (
    "w",
    "[DONE]",
    "data: [DONE]\n\n",
    "message_stop",
    '{"type":"response.completed"}',
    "雨🌧",
    "\\u0041",
    "x" * 700,
)


def _token(draw: random.Random) -> Event:
    text = draw.choice(_TEXTS)
    if draw.random() < 0.01:
        text = text * (70_000 // len(text))
    choices: tuple[dict[str, object], ...] = (
        {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}], "error": None},
        {"choices": [{"index": 1, "text": text}], "error": {}},
        {"type": "content_block_delta", "delta": {"type": "message_stop", "text": text}},
        {"type": "response.output_text.delta", "delta": text, "response": {"error": None}},
        {"type": "response.created", "response": {"type": "response.completed", "error": {"message": text}}},
        {"choices": [], "usage": {"completion_tokens": 3}},
        {"type": "ping"},
    )
    said = draw.choice(choices)
    name = str(said.get("type", "")) if draw.random() < 0.5 else draw.choice(("", "", "chunk"))
    if draw.random() < 0.05:
        return name.encode(), text.replace("\n", " ").encode()  # no JSON
    return name.encode(), json.dumps(said, ensure_ascii=draw.random() < 0.5).encode()


def _end(draw: random.Random, path: str) -> Event:
    """Mostly of this dialect."""
    kinds: dict[str, tuple[str, ...]] = {
        **dict.fromkeys(CHAT, ("[DONE]",)),
        **dict.fromkeys(RESPONSES, RESPONSE_ENDS),
        **dict.fromkeys(MESSAGES, ("message_stop",)),
    }
    kind = draw.choice(
        kinds.get(path, (*OTHER_ENDS, "[DONE]")) if draw.random() < 0.7 else (*OTHER_ENDS, "[DONE]", "error")
    )
    if kind == "[DONE]":
        return draw.choice((b"", b"", b"done")), kind.encode()
    if kind == "error":
        said: object = draw.choice(({"error": {"message": "no"}}, {"error": "no"}, {"type": "error", "message": "no"}))
        return draw.choice((b"", b"error")), json.dumps(said).encode()
    long = "y" * draw.choice((0, 0, 10, 9000))
    text = json.dumps(
        draw.choice(({"type": kind, "text": long}, {"response": {"type": "x", "text": long}, "type": kind}))
    )
    if draw.random() < 0.1:
        text = text.replace(kind, kind.replace("e", "\\u0065"))
    return draw.choice((b"", kind.encode())), text.encode()


def spelled(draw: random.Random, events: list[Event]) -> list[bytes]:
    """Each event in bytes, with everything that the standard allows around it."""
    ends = draw.choice(((b"\n",), (b"\n",), (b"\r\n",), (b"\r",), (b"\n", b"\r\n", b"\r")))

    def line(content: bytes) -> bytes:
        return content + draw.choice(ends)

    parts = [b"\xef\xbb\xbf"] if draw.random() < 0.1 else []
    for name, data in events:
        lines = [line(b"event:" + draw.choice((b"", b" ")) + name)] if name else []
        for piece in _over_lines(draw, data):
            spaces = (b"", b" ", b"  ") if piece == b"[DONE]" else (b"", b" ")
            lines.append(line(b"data:" + draw.choice(spaces) + piece))
        for _ in range(draw.choice((0, 0, 0, 1, 2))):
            extra = draw.choice(
                (b": keep-alive", b":", b"id: 7", b"id", b"retry: 10", b"date: [DONE]", b"Data: [DONE]")
            )
            lines.insert(draw.randint(0, len(lines)), line(extra))
        parts.append(b"".join(lines) + line(b""))
        if draw.random() < 0.15:
            parts.append(line(b": " + b"-" * draw.choice((0, 10, 3000))) + line(b""))
    if draw.random() < 0.1:
        parts.append(b"data: [DONE]" + draw.choice((b"", b"\n", b"\r")))  # no blank line follows
    return parts


def _over_lines(draw: random.Random, data: bytes) -> list[bytes]:
    """JSON may be broken where white space may stand."""
    if draw.random() > 0.1 or not data.startswith(b"{") or b'", "' in data:
        return [data]
    return re.split(rb"(?<=[{,:]) ", data)


def coded(draw: random.Random, coding: str, parts: list[bytes]) -> list[bytes]:
    """The parts in this coding, flushed behind each, or behind some, or in several members."""
    match coding:
        case "" | "identity":
            return parts
        case "rot13":
            return [part.translate(_ROTATED) for part in parts]
        case "gzip, zstd":
            return _packed(draw, "zstd", _packed(draw, "gzip", parts))
        case _:
            return _packed(draw, coding, parts)


def _packed(draw: random.Random, coding: str, parts: list[bytes]) -> list[bytes]:
    if coding == "gzip" and draw.random() < 0.3:
        return [gzip.compress(part, 1) for part in parts]
    rarely = draw.choice((0.0, 0.0, 0.5))
    packed = []
    match coding:
        case "br":
            one = brotli.Compressor(quality=1)
            packed += [one.process(part) + (b"" if draw.random() < rarely else one.flush()) for part in parts]
            packed.append(one.finish() if draw.random() < 0.5 else one.flush())
        case "zstd":
            two = zstandard.ZstdCompressor(level=1).compressobj()
            for part in parts:
                said = two.compress(part)
                flush = draw.random() >= rarely
                packed.append(said + (two.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) if flush else b""))
            packed.append(two.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH))
        case _:
            three = zlib.compressobj(1, wbits=31 if coding == "gzip" else 15)
            sync = zlib.Z_SYNC_FLUSH
            packed += [three.compress(part) + (b"" if draw.random() < rarely else three.flush(sync)) for part in parts]
            packed.append(three.flush(zlib.Z_FINISH if draw.random() < 0.5 else zlib.Z_SYNC_FLUSH))
    return packed


def cut(draw: random.Random, parts: list[bytes]) -> tuple[bytes, ...]:
    """Chunks: one for each part, or cut anywhere, or byte by byte where that is short."""
    how = draw.choice(("parts", "anywhere", "anywhere", "bytes"))
    body = b"".join(parts)
    if how == "parts":
        return tuple(part for part in parts if part)
    if how == "bytes" and len(body) < 400:
        return tuple(body[at : at + 1] for at in range(len(body)))
    places = sorted(draw.randint(0, len(body)) for _ in range(draw.randint(0, 12)))
    edges = [0, *places, len(body)]
    return tuple(body[start:stop] for start, stop in itertools.pairwise(edges) if start < stop)


# The oracle


def decoded(coding: str, body: bytes) -> bytes | None:
    """As far as it has come; None for a coding that nobody knows."""
    match coding:
        case "" | "identity":
            return body
        case "gzip":
            text = b""
            while body:
                member = zlib.decompressobj(31)
                text += member.decompress(body)
                body = member.unused_data
            return text
        case "deflate":
            return zlib.decompressobj().decompress(body)
        case "br":
            stream = brotli.Decompressor()
            texts = [bytes(stream.process(body))] if body else []
            while texts and texts[-1]:  # it hands out 32 kB a call
                texts.append(bytes(stream.process(b"")))
            return b"".join(texts)
        case "zstd":
            return zstandard.ZstdDecompressor().decompressobj().decompress(body) if body else b""
        case "gzip, zstd":
            inner = decoded("zstd", body)
            return None if inner is None else decoded("gzip", inner)
        case _:
            return None


def events_in(body: bytes) -> list[Event]:
    """All that are dispatched (WHATWG HTML 9.2.6), slowly and plainly."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    lines = re.split(rb"\r\n|\n|\r", body)[:-1]
    events: list[Event] = []
    name, data = b"", None
    for line in lines:
        if not line:
            if data is not None:
                events.append((name, data))
            name, data = b"", None
            continue
        found = re.fullmatch(rb"([^:]*)(?:: ?(.*))?", line, re.DOTALL)
        assert found is not None
        field, value = found[1], found[2] or b""
        if field == b"data":
            data = value if data is None else data + b"\n" + value
        elif field == b"event":
            name = value
    return events


def has_ended(path: str, events: list[Event]) -> bool:
    """Whether one of them ends a stream of this path."""
    ends = {
        **dict.fromkeys(CHAT, ()),
        **dict.fromkeys(RESPONSES, RESPONSE_ENDS),
        **dict.fromkeys(MESSAGES, ("message_stop",)),
    }
    last = False
    for name, data in events:
        try:
            value = json.loads(data)
        except ValueError:
            value = None
        said = value if isinstance(value, dict) else {}
        if path not in MESSAGES and data.strip() == b"[DONE]":
            return True
        if {name.decode("utf-8", "replace"), said.get("type")} & set(ends.get(path, OTHER_ENDS)):
            return True
        last = name == b"error" or bool(said.get("error")) or said.get("type") == "error"
    return last
