"""How far two answers to the same request agree, and where they first differ.

    bytes ⊃ frames ⊃ canonical ⊃ text ⊃ structure ⊃ nothing

Each level implies those right of it. `bytes`: also the server's own chunks. `frames`: the same body. `canonical`: the
same JSON but for fields that every server mints anew. `text`: the same words, tool calls, finish reason and counts.
`structure`: another wording of the same form, as another server, a batch or a sampler gives. Knows no cassette.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from replayproxy.core.comparison.content import AnswerContent, Field, Piece, content_of
from replayproxy.core.comparison.shape import ShapeChange, compare_shapes, shape_of
from replayproxy.core.identity import canonical
from replayproxy.model import Ending, Response

AROUND = 30
"""Characters shown of a text before and after the place where it differs."""

VOLATILE = frozenset(
    {"created", "created_at", "completed_at", "system_fingerprint", "request_id", "item_id", "call_id", "obfuscation"}
    | {"kv_transfer_params", "prompt_tokens_details", "input_tokens_details", "service_tier", "metrics"}
)
"""Fields that differ between two answers that are the same; beside them `id`, but not in a list of `data`, where it
names a model or a file."""

DEEPEST = 64


class AgreementLevel(IntEnum):
    """How far two answers agree: the higher, the more."""

    NONE = 0
    STRUCTURE = 1
    TEXT = 2
    CANONICAL = 3
    FRAMES = 4
    BYTES = 5


@dataclass(frozen=True, slots=True)
class TextPlace:
    """Where two texts begin to differ.

    `path` is the JSON path of the text, `character` and `token` count from 0. `token` counts pieces as the server sent
    them (`first`'s, as far as both cut alike), or token ids where the server sent those; None for an answer that was
    not streamed. `before` is the text that both share up to there.
    """

    path: str
    choice: int
    character: int
    token: int | None
    chunk: int
    before: str
    first: str
    second: str
    shared: float
    """The part of the longer text that both share from its start, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class AnswerDifference:
    """One thing in which two answers differ. `kind` is one of `KINDS`; `place` only of a text."""

    kind: str
    what: str
    first: str
    second: str
    place: TextPlace | None = None


KINDS = ("status", "text", "finish", "tools", "usage", "shape")

STRUCTURAL = frozenset({"status", "finish", "shape"})
"""Kinds that break the level `structure`; of tool calls only other names do."""


@dataclass(frozen=True, slots=True)
class AnswerComparison:
    """Two answers side by side. `cached_tokens` differ with the state of a cache and are no difference."""

    level: AgreementLevel
    differences: tuple[AnswerDifference, ...]
    shape: ShapeChange
    cached: tuple[int | None, int | None]
    counted: tuple[int | None, int | None]
    """Output tokens of both."""


def compare_answers(
    first: Response, second: Response, contents: tuple[AnswerContent, AnswerContent] | None = None
) -> AnswerComparison:
    """Compare two answers to the same request. `contents` are theirs, where the caller has them already."""
    one, other = contents or (content_of(first), content_of(second))
    cached, counted = (one.cached_tokens, other.cached_tokens), (one.completion_tokens, other.completion_tokens)
    same_end = (first.status, one.media, first.ending) == (second.status, other.media, second.ending)
    if same_end and first.body == second.body:
        level = AgreementLevel.BYTES if first.http_chunks == second.http_chunks else AgreementLevel.FRAMES
        return AnswerComparison(level, (), ShapeChange(), cached, counted)
    shape = ShapeChange()
    if one.media == other.media:  # a stream and a whole answer have no field in common
        shape = compare_shapes(*(shape_of(filter(_has_fields, content.values)) for content in (one, other)))
    found = tuple(_differences(first, second, one, other, shape))
    kinds = {difference.kind for difference in found}
    if any(difference.kind in STRUCTURAL or difference.what == "other tools" for difference in found):
        level = AgreementLevel.NONE
    elif kinds:
        level = AgreementLevel.STRUCTURE
    elif same_end and _canonical(one) == _canonical(other):
        level = AgreementLevel.CANONICAL
    else:
        level = AgreementLevel.TEXT
    return AnswerComparison(level, found, shape, cached, counted)


def _has_fields(value: Any) -> bool:
    return isinstance(value, dict | list)


def _canonical(content: AnswerContent) -> list[bytes] | bytes:
    if not content.values:
        return bytes(content.other or b"")
    return [canonical.dumps(without_volatile(value)) for value in content.values]


def without_volatile(value: Any, *, within_data: bool = False, depth: int = 0) -> Any:
    """The value without the fields of `VOLATILE` and ids."""
    if depth > DEEPEST:
        return None
    if isinstance(value, dict):
        return {
            name: without_volatile(inner, within_data=name == "data", depth=depth + 1)
            for name, inner in value.items()
            if name not in VOLATILE and (name != "id" or within_data)
        }
    if isinstance(value, list):
        return [without_volatile(inner, within_data=within_data, depth=depth + 1) for inner in value]
    return value


# What differs


def _differences(
    first: Response, second: Response, one: AnswerContent, other: AnswerContent, shape: ShapeChange
) -> Iterator[AnswerDifference]:
    yield from _endings(first, second, one, other)
    for choice in sorted({choice for choice, _ in (*one.pieces, *other.pieces)}):
        yield from _texts(one, other, choice)
    yield from _calls(one, other)
    yield from _others(one, other)
    yield from _counts(one, other)
    if first.status == second.status:
        for path in shape.removed:
            yield AnswerDifference("shape", f"{path} removed", "there", "absent")
        for change in shape.changed:
            yield AnswerDifference("shape", f"{change.path} changed its type", change.first, change.second)


def _endings(first: Response, second: Response, one: AnswerContent, other: AnswerContent) -> Iterator[AnswerDifference]:
    if first.status != second.status:
        yield AnswerDifference("status", "status", str(first.status), str(second.status))
    if first.ending is not second.ending:
        yield AnswerDifference("status", "ending", _ending(first.ending), _ending(second.ending))
    if one.error != other.error:
        yield AnswerDifference("status", "error", one.error or "none", other.error or "none")
    if one.media != other.media:
        yield AnswerDifference("shape", "media type", one.media or "none", other.media or "none")
    elif one.is_stream and (last := _last_text(one)) != _last_text(other):
        yield AnswerDifference("shape", "last event", last, _last_text(other))


def _counts(one: AnswerContent, other: AnswerContent) -> Iterator[AnswerDifference]:
    for choice in sorted(one.finish.keys() | other.finish.keys()):
        where = f"finish reason of choice {choice}" if choice else "finish reason"
        before, after = (content.finish.get(choice) or "none" for content in (one, other))
        if before != after:
            yield AnswerDifference("finish", where, before, after)
    for what, first, second in (
        ("prompt tokens", one.prompt_tokens, other.prompt_tokens),
        ("output tokens", one.completion_tokens, other.completion_tokens),
    ):
        if first != second:
            yield AnswerDifference("usage", what, _number(first), _number(second))


def _last_text(content: AnswerContent) -> str:
    """The last event where it is text, such as `[DONE]`."""
    last = content.values[-1] if content.values else None
    return last[:40] if isinstance(last, str) else "JSON"


def _ending(ending: Ending) -> str:
    return ending.name.lower()


def _number(value: int | None) -> str:
    return "not stated" if value is None else str(value)


def _texts(one: AnswerContent, other: AnswerContent, choice: int) -> Iterator[AnswerDifference]:
    for name in ("reasoning", "content", "refusal", "text"):
        field: Field = (choice, name)
        before, after = one.text(field), other.text(field)
        if before == after:
            continue
        place = _place(one, other, field, before, after)
        yield AnswerDifference("text", name, place.first, place.second, place)


def _place(one: AnswerContent, other: AnswerContent, field: Field, before: str, after: str) -> TextPlace:
    at = common_start(before, after)
    pieces = one.pieces.get(field, ())
    others = other.pieces.get(field, ())
    choice, name = field
    ids, other_ids = (content.tokens.get(choice) for content in (one, other))
    token: int | None
    if ids and other_ids:
        token = common_start(ids, other_ids)
    elif one.is_stream:
        token = common_start([piece.text for piece in pieces], [piece.text for piece in others])
    else:
        token = None
    return TextPlace(
        path=_path(one, choice, name),
        choice=choice,
        character=at,
        token=token,
        chunk=_chunk_at(pieces or others, at),
        before=before[max(0, at - AROUND) : at],
        first=before[at : at + AROUND],
        second=after[at : at + AROUND],
        shared=at / max(len(before), len(after)),
    )


def _path(content: AnswerContent, choice: int, name: str) -> str:
    has_choices = any(isinstance(value, dict) and "choices" in value for value in content.values[:1])
    if not has_choices:
        return f"$.{name}"
    if name == "text":
        return f"$.choices[{choice}].text"
    return f"$.choices[{choice}].{'delta' if content.is_stream else 'message'}.{name}"


def _chunk_at(pieces: Sequence[Piece], character: int) -> int:
    """The chunk in which a character came; the last one where the text ends before it."""
    seen = 0
    for piece in pieces:
        seen += len(piece.text)
        if character < seen:
            return piece.chunk
    return pieces[-1].chunk if pieces else 0


def common_start(first: Sequence[Any], second: Sequence[Any]) -> int:
    """How many items both have in common from the start: halving, because comparing slices is quick."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _calls(one: AnswerContent, other: AnswerContent) -> Iterator[AnswerDifference]:
    for choice in sorted(one.calls.keys() | other.calls.keys()):
        before, after = one.calls.get(choice, ()), other.calls.get(choice, ())
        names = [[call.name for call in calls] for calls in (before, after)]
        if names[0] != names[1]:
            first, second = (", ".join(called) or "none" for called in names)
            yield AnswerDifference("tools", "other tools", first, second)
            continue
        for call, another in zip(before, after, strict=True):
            if call.arguments != another.arguments and not _same(call.value, another.value):
                at = max(0, common_start(call.arguments, another.arguments) - AROUND)
                first, second = (text[at : at + 3 * AROUND] for text in (call.arguments, another.arguments))
                yield AnswerDifference("tools", f"arguments of {call.name}", first, second)


def _same(first: Callable[[], Any], second: Callable[[], Any]) -> bool:
    return canonical.dumps(first()) == canonical.dumps(second())


def _others(one: AnswerContent, other: AnswerContent) -> Iterator[AnswerDifference]:
    """A body in which no dialect has found anything, such as embeddings or a list of models."""
    if one.other is None and other.other is None:
        return
    first, second = _canonical(one), _canonical(other)
    if first == second:
        return
    texts = [
        (side if isinstance(side, bytes) else b"\n".join(side)).decode("utf-8", "replace") for side in (first, second)
    ]
    at = common_start(*texts)
    shown = [text[at : at + AROUND] for text in texts]
    place = TextPlace(
        path="$",
        choice=0,
        character=at,
        token=None,
        chunk=0,
        before=texts[0][max(0, at - AROUND) : at],
        first=shown[0],
        second=shown[1],
        shared=at / max(1, *map(len, texts)),
    )
    yield AnswerDifference("text", "body", shown[0], shown[1], place)
