"""A recorded answer with other ids of the same length in it: every byte that is not of an id stays, and every chunk.

    data: {"delta":{"content":"T-81"}}          data: {"delta":{"content":"T-9e"}}
    data: {"delta":{"content":"c2f0 is open"}}  data: {"delta":{"content":"04aa is open"}}

An id may come in pieces over several events: texts of one place (`choices[0].delta.content`) are read as one. Where an
answer names an id in a way that cannot be exchanged, there is no answer: `Uncertain` says why.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from replayproxy.core import headers
from replayproxy.core.coding import decoded_chunks, is_coded
from replayproxy.core.identity.fresh_ids import SHORTEST_HEX, Uncertain, text_with_ids
from replayproxy.model import Response

_STRING = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)

_UNIT = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|.", re.DOTALL)
"""One character of a JSON string as it is spelled."""

_LINE = re.compile(r"[^\r\n]+")

_PLACE = ("type", "index", "output_index", "content_index", "item_id")
"""Fields of an event that say to which text it adds."""

_PARTS = re.compile(r"[_-]")

_BESIDE_TEXT = ("logprobs", "token_ids", "prompt_token_ids")
"""Fields that say the text again, as tokens."""

Place = tuple[Any, ...]


@dataclass(slots=True)
class _Piece:
    """A JSON string: its text, and where it is spelled in the body."""

    place: Place
    text: str
    start: int
    units: list[str]
    """The characters of the text as they are spelled."""


def answer_with_ids(response: Response, ids: Mapping[str, str]) -> tuple[Response, frozenset[str]]:
    """The answer with the value of `ids` in the place of each of its keys, and the keys that were there.

    The same object where there are none. Raises `Uncertain`.
    """
    chunks = list(decoded_chunks(response)) if is_coded(response.headers) else None
    content = response.body if chunks is None else b"".join(chunks)
    if not ids or not _may_mention(content, ids):
        return response, frozenset()
    try:
        body = content.decode()
    except UnicodeDecodeError:
        return response, frozenset()
    pieces, is_tokens = _pieces(body)
    changes: list[tuple[_Piece, str]] = []
    found: set[str] = set()
    for texts in _by_place(pieces):
        whole = "".join(piece.text for piece in texts)
        changed = text_with_ids(whole, ids)
        found.update(id for id in ids if id in whole and id not in changed)
        _check_rest(changed, ids)
        starts = accumulate((len(piece.text) for piece in texts), initial=0)
        changes += [
            (piece, changed[start : start + len(piece.text)])
            for piece, start in zip(texts, starts, strict=False)
            if changed[start : start + len(piece.text)] != piece.text
        ]
    if not changes:
        return response, frozenset()
    if is_tokens:
        raise Uncertain(
            "the recorded answer has its text again as tokens (logprobs or token ids), where ids cannot be exchanged"
        )
    return _with_body(response, chunks, _replaced(body, changes).encode()), frozenset(found)


def _with_body(response: Response, chunks: list[bytes] | None, body: bytes) -> Response:
    if chunks is None:  # as long as before, so cuts and Content-Length hold
        return replace(response, body=body)
    fields = tuple(
        (name, str(len(body)) if name.lower() == "content-length" else value)
        for name, value in headers.without(response.headers, "content-encoding")
    )
    timeline = response.timeline
    kept = [number for number, chunk in enumerate(chunks) if chunk]
    return replace(
        response,
        headers=fields,
        body=body,
        cuts=tuple(len(chunks[number]) for number in kept),
        timeline=replace(timeline, chunks=tuple(timeline.chunks[number] for number in kept)),
        continued=(),
    )


def _may_mention(body: bytes, ids: Mapping[str, str]) -> bool:
    """Whether it is worth reading the answer: an id has no escapes, but it may come in pieces."""
    return b"data:" in body or any(part in body.lower() for id in ids for part in _named_parts(id))


def _named_parts(id: str) -> Iterator[bytes]:
    yield from (part.lower().encode() for part in (id, id.replace("-", ""), *_random_parts(id)))


def _random_parts(id: str) -> Iterator[str]:
    """Parts by which a model may name an id: `81c2f0` of `T-81c2f0`."""
    return (part for part in _PARTS.split(id) if len(part) >= SHORTEST_HEX and re.search("[0-9]", part))


def _check_rest(text: str, ids: Mapping[str, str]) -> None:
    lower = text.lower()
    for id in ids:
        for part in (id, id.replace("-", ""), *_random_parts(id)):
            if part.lower() in lower and not any(part.lower() in fresh.lower() for fresh in ids.values()):
                raise Uncertain(f"the recorded answer names `{id}` by a part of it, or within another word")


def _by_place(pieces: list[_Piece]) -> Iterator[list[_Piece]]:
    """Pieces that are read as one text. What each event repeats, such as the id of a call, is no text in pieces."""
    places: dict[Place, list[_Piece]] = {}
    for piece in pieces:
        places.setdefault(piece.place, []).append(piece)
    for texts in places.values():
        if len({piece.text for piece in texts}) == 1:
            yield from ([piece] for piece in texts)
        else:
            yield texts


def _replaced(body: str, changes: list[tuple[_Piece, str]]) -> str:
    parts, at = [], 0
    for piece, text in sorted(changes, key=lambda change: change[0].start):
        new = "".join(
            unit if was == now else now if len(unit) == 1 else f"\\u{ord(now):04x}"
            for unit, was, now in zip(piece.units, piece.text, text, strict=True)
        )
        parts += [body[at : piece.start], new]
        at = piece.start + sum(map(len, piece.units))
    return "".join([*parts, body[at:]])


# The strings of an answer


def _pieces(body: str) -> tuple[list[_Piece], bool]:
    """Every JSON string of a body, of its events or lines, and whether a field says the text as tokens."""
    document = _strings(body, 0, streams=False)
    if document is not None:
        return document
    pieces: list[_Piece] = []
    is_tokens = False
    for line in _LINE.finditer(body):
        text, start = line[0], line.start()
        if text.startswith("data:"):
            found = _strings(text[5:], start + 5, streams=True)
            if found is not None:
                pieces += found[0]
                is_tokens = is_tokens or found[1]
                continue
        pieces.append(_Piece((start,), text, start, list(text)))
    return pieces, is_tokens


def _strings(text: str, start: int, *, streams: bool) -> tuple[list[_Piece], bool] | None:
    """None where a text is not one JSON value. `streams`: the place says what an event adds to, else it is unique."""
    try:
        value = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return None
    literals = list(_STRING.finditer(text))
    pieces: list[_Piece] = []
    event = tuple(str(dict(value).get(name)) for name in _PLACE) if streams and isinstance(value, _Pairs) else ()
    for found, (path, content) in zip(literals, _walk(value, ()), strict=True):
        place: Place = (event, path) if streams and path is not None else (start + found.start(),)
        pieces.append(_Piece(place, content, start + found.start(1), _UNIT.findall(found[1])))
    return pieces, _has_tokens(value)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object in its order, with names that occur twice."""


def _walk(value: Any, path: Place) -> Iterator[tuple[Place | None, str]]:
    """Every string in the order in which it is spelled, each with its path; names too, which have none."""
    if isinstance(value, _Pairs):
        for name, inner in value:
            yield None, name
            yield from _walk(inner, (*path, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            index = dict(inner).get("index") if isinstance(inner, _Pairs) else None
            yield from _walk(inner, (*path, index if isinstance(index, int) else number))
    elif isinstance(value, str):
        yield path, value


def _has_tokens(value: Any) -> bool:
    if isinstance(value, _Pairs):
        return any((name in _BESIDE_TEXT and bool(inner)) or _has_tokens(inner) for name, inner in value)
    if isinstance(value, list):
        return any(map(_has_tokens, value))
    return False
