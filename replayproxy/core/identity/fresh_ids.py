"""`--carry`: which ids of a request stand for ids of a recording, where that is certain, and why not where it is not.

    recorded  tool: "ticket T-81c2f0 opened"                       T-81c2f0
    received  tool: "ticket T-9e04aa opened"   ──▶ fresh_ids ──▶   T-9e04aa stands for it

Certain means all of this: texts differ in nothing but such words; each has the form of a random id, on both sides; both
were first seen in what a tool returned (or in the id of a call), never in what a user or a system prompt says; one
fresh id stands for one recorded id, and the other way round; and with the recorded ids in it the request *is* the
recorded one, by its key. So the length of every text stays as it was. Knows requests; not scopes, not answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from replayproxy.core import headers
from replayproxy.core.coding import body_of
from replayproxy.core.identity import canonical
from replayproxy.core.identity.difference import NOTHING, different_places
from replayproxy.core.identity.normalise import normalisers
from replayproxy.core.identity.rules import Matcher
from replayproxy.model import Request

MOST_IDS = 64
"""In one request; where more words differ, it is another text."""

SHORTEST_HEX, SHORTEST, LONGEST = 6, 8, 128
"""Characters of what is random in an id: six of hexadecimal digits (`uuid4().hex[:6]`), eight of any letters."""

_ID = re.compile(r"[0-9A-Za-z_-]+")
_WORDS = re.compile(r"\\u[0-9A-Fa-f]{4}|\\.|[0-9A-Za-z_-]+|[^0-9A-Za-z_\\-]+|\\", re.DOTALL)
"""Of a text, one after the other; an escape is a word, as in `\\nT-81c2f0` within JSON within JSON."""
_PARTS = re.compile(r"[_-]")
_NAMED = tuple(one.pattern for one in normalisers(("uuid", "tool-call-id")) if isinstance(one.pattern, re.Pattern))
_HEX = re.compile("[0-9a-f]+|[0-9A-F]+")
_RUNS = re.compile(r"[0-9]+|[a-z]+|[A-Z]+")

_TOOL_TEXT = re.compile(r"\b(?:tool|function|tool_result|[a-z_]+_call_output)\b")
"""In the body of every request that a tool has written into."""


class Uncertain(Exception):
    """A request does not stand for a recording; the text says why not, and where."""


def may_hold_fresh_ids(request: Request) -> bool:
    """Return whether a tool may have written into a request: only then it is worth a search."""
    return _TOOL_TEXT.search(body_of(request).decode("latin-1")) is not None


def fresh_ids(matcher: Matcher, recorded: Request, request: Request) -> dict[str, str]:
    """The recorded id for each fresh id of a request that is otherwise the recorded one. Raises `Uncertain`."""
    one, other = matcher.compared(recorded), matcher.compared(request)
    received_by_tools, recorded_by_tools = _first_seen(other.body), _first_seen(one.body)
    ids: dict[str, str] = {}
    for path, before, after in different_places(one, other):
        if not isinstance(before, str) or not isinstance(after, str):
            absent = "is absent" if after is NOTHING else "was not recorded" if before is NOTHING else "differs"
            raise Uncertain(f"{path} {absent}")
        for was, now in _different_words(path, before, after):
            if not is_random_id(was, now):
                raise Uncertain(f"`{_shown(now)}` in {path} is not certain to stand for `{_shown(was)}`: {_why(was)}")
            if ids.setdefault(now, was) != was:
                raise Uncertain(f"`{_shown(now)}` stands for `{_shown(ids[now])}` and for `{_shown(was)}`")
            if len(ids) > MOST_IDS:
                raise Uncertain(f"more than {MOST_IDS} words differ")
    if not ids:
        raise Uncertain("nothing differs that could be an id")
    if len(set(ids.values())) < len(ids):
        raise Uncertain("two fresh ids would stand for the same recorded id")
    _check_origins(ids, received_by_tools, recorded_by_tools)
    if matcher.key(with_ids(request, ids)) != matcher.key(recorded):
        raise Uncertain("with the recorded ids in it, it is still another request")
    return ids


def _check_origins(ids: Mapping[str, str], received: Origins, recorded: Origins) -> None:
    for now, was in ids.items():
        # Attack: a user asks about T-2 and the recording is about T-1; or the tool names an object of the recording.
        for word, origins in ((now, received), (was, recorded)):
            if not origins.get(word, False):
                raise Uncertain(f"`{_shown(word)}` was not minted by a tool: it is first seen outside of its output")
        if was in received or now in recorded:
            raise Uncertain(f"`{_shown(now)}` is not fresh: request and recording both know it or `{_shown(was)}`")


def _different_words(path: str, before: str, after: str) -> Iterator[tuple[str, str]]:
    # An id has the length of the other, so texts that differ in ids alone are cut into words at the same places.
    if len(before) != len(after):
        raise Uncertain(f"{path} has another length")
    words, others = _WORDS.findall(before), _WORDS.findall(after)
    if len(words) != len(others):
        raise Uncertain(f"{path} differs in more than words")
    place = 0
    for was, now in zip(words, others, strict=True):
        if was != now:
            if len(was) != len(now) or not _ID.fullmatch(was) or not _ID.fullmatch(now):
                raise Uncertain(f"{path} differs in more than words of one length")
            if before[place - 1 : place] == "#":
                raise Uncertain(f"`#{_shown(now)}` in {path} may be a colour or a number")
            yield was, now
        place += len(was)


# What is an id


def is_random_id(recorded: str, fresh: str) -> bool:
    """Whether two words of one length are ids that something drew at random.

    The form is judged by the recorded one, so that a replay does not depend on what the next draw happens to look like.
    Counters, versions, names of models, dates and amounts are not random.
    """
    if len(recorded) != len(fresh) or len(recorded) > LONGEST:
        return False
    for form in _NAMED:
        if form.fullmatch(recorded):
            return form.fullmatch(fresh) is not None and _distance(recorded, fresh) >= SHORTEST_HEX
    parts, others = _PARTS.split(recorded), _PARTS.split(fresh)
    if list(map(len, parts)) == list(map(len, others)) and all(
        was == now or _is_random(was, now) for was, now in zip(parts, others, strict=True)
    ):
        return True
    # `secrets.token_urlsafe()`: hyphens are letters there.
    is_token = len(recorded) >= 2 * SHORTEST and len(_kinds(recorded)) == 3
    return is_token and _differs_much(recorded, fresh)


def _is_random(recorded: str, fresh: str) -> bool:
    if not _differs_much(recorded, fresh):  # of two random hexadecimal digits one in sixteen is equal
        return False
    if not re.search("[0-9]", recorded) or not re.search("[A-Za-z]", recorded):
        return False  # a number, or a word
    if _HEX.fullmatch(recorded) and _HEX.fullmatch(fresh) and _kinds(fresh) <= _kinds(recorded):
        return len(recorded) >= SHORTEST_HEX
    # `H200PCI`, `python311` are words with a number in them; digits stand in several places of what is random.
    if len(recorded) < SHORTEST or len(_RUNS.findall(recorded)) < 4:
        return False
    return _kinds(fresh) <= _kinds(recorded)


def _kinds(text: str) -> set[str]:
    """Which of digits, small letters and capitals occur."""
    return {
        "digit" if letter.isdigit() else "small" if letter.islower() else "capital"
        for letter in text
        if letter.isalnum()
    }


def _differs_much(recorded: str, fresh: str) -> bool:
    return 2 * _distance(recorded, fresh) > len(recorded)


def _distance(recorded: str, fresh: str) -> int:
    return sum(was != now for was, now in zip(recorded, fresh, strict=True))


def _why(recorded: str) -> str:
    if recorded.isdigit():
        return "a number may mean something"
    return "they do not look drawn at random"


def _shown(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"


# Where an id comes from

Origins = dict[str, bool]
"""By word of a request that may be an id: whether a tool's output, or the id of a call, has it first."""


def _first_seen(body: Any) -> Origins:
    origins: Origins = {}
    for text, is_tools in _texts(body):
        for word in id_words(text):
            origins.setdefault(word, is_tools)
    return origins


def _texts(body: Any) -> Iterator[tuple[str, bool]]:
    """Every text of a request, what is no conversation first, and whether a tool wrote it."""
    if not isinstance(body, dict):
        yield from ((text, False) for text in _strings(body))
        return
    for name, value in body.items():
        if name not in ("messages", "input") or not isinstance(value, list):
            yield from ((text, False) for text in _strings(value))
    for name in ("messages", "input"):
        for item in body[name] if isinstance(body.get(name), list) else ():
            yield from _item_texts(item, is_tools=False)


def _item_texts(value: Any, *, is_tools: bool) -> Iterator[tuple[str, bool]]:
    if isinstance(value, dict):
        kind = str(value.get("type", ""))
        has_output = value.get("role") in ("tool", "function") or kind == "tool_result" or kind.endswith("_call_output")
        is_call = kind in ("function", "tool_use", "function_call", "custom_tool_call")
        for name, inner in value.items():
            is_output = has_output and name in ("content", "output")
            is_id = name in ("tool_call_id", "tool_use_id", "call_id") or (is_call and name == "id")
            yield from _item_texts(inner, is_tools=is_tools or is_output or is_id)
    elif isinstance(value, list):
        for inner in value:
            yield from _item_texts(inner, is_tools=is_tools)
    elif isinstance(value, str):
        yield value, is_tools


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)


# A request with other ids


def id_words(text: str) -> Iterator[str]:
    """The words of a text that may be ids."""
    return (word for word in _WORDS.findall(text) if len(word) >= SHORTEST_HEX and _ID.fullmatch(word))


def text_with_ids(text: str, ids: Mapping[str, str]) -> str:
    """The text with other ids where they are whole words; of the same length."""
    return _WORDS.sub(lambda found: ids.get(found[0], found[0]), text)


def with_ids(request: Request, ids: Mapping[str, str]) -> Request:
    """The request with other ids in its JSON body, wherever they stand; the same object where there are none."""
    body = body_of(request)
    if not ids or not any(text.encode() in body for text in ids):
        return request
    try:
        value = canonical.loads(body)
    except ValueError:
        return request
    changed = _replaced(value, ids)
    if changed == value:
        return request
    fields = headers.without(request.headers, "content-encoding", "content-length")
    return Request(request.method, request.target, fields, canonical.dumps(changed))


def _replaced(value: Any, ids: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return text_with_ids(value, ids)
    if isinstance(value, dict):
        return {name: _replaced(inner, ids) for name, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, ids) for inner in value]
    return value
