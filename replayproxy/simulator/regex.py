"""Read a regular expression as a language: what vLLM's structured outputs take of them.

Alternatives, groups, classes, escapes and quantifiers. Anchors at the ends say nothing, as the whole answer must match.
What no engine for structured outputs follows either is refused: back references, looking ahead and behind, `\\b`.
"""

from __future__ import annotations

from replayproxy.simulator.characters import ExpressionReader, anything
from replayproxy.simulator.language import Alternation, BadLanguage, Characters, Concatenation, Language, Literal, Node


def read_regex(source: str) -> Language:
    """The language of an expression. Raises `BadLanguage`."""
    reader = ExpressionReader(source)
    root = _alternatives(reader)
    if reader.next:
        raise reader.unexpected()
    return Language(root)


def _alternatives(reader: ExpressionReader) -> Node:
    options = [_sequence(reader)]
    while reader.takes("|"):
        options.append(_sequence(reader))
    return options[0] if len(options) == 1 else Alternation(tuple(options))


def _sequence(reader: ExpressionReader) -> Node:
    parts: list[Node] = []
    while reader.next and reader.next not in "|)":
        if reader.takes("^") or reader.takes("$"):
            continue
        part = reader.repeated(_part(reader))
        reader.takes("?")  # lazy or not, the language is the same
        parts.append(part)
    return parts[0] if len(parts) == 1 else Concatenation(tuple(parts))


def _part(reader: ExpressionReader) -> Node:
    if reader.next in ("*", "+", "?"):
        raise reader.unexpected()
    match reader.take():
        case ".":
            return anything()
        case "[":
            return reader.character_class()
        case "(":
            return _group(reader)
        case "\\" if reader.next in ("b", "B", "A", "Z", "z", "G") or reader.next.isdigit():
            raise BadLanguage(f"has \\{reader.next}, which structured outputs do not follow: write it without")
        case "\\":
            found = reader.escape()
            return found if isinstance(found, Characters) else Literal(found)
        case character:
            return Literal(character)


def _group(reader: ExpressionReader) -> Node:
    reader.enter()
    if reader.takes("?P<") or (reader.source[reader.at : reader.at + 3] not in ("?<=", "?<!") and reader.takes("?<")):
        while reader.take() != ">":
            pass
    elif not reader.takes("?:") and reader.next == "?":
        what = reader.source[reader.at : reader.at + 2]
        raise BadLanguage(f"has a group ({what}…), which structured outputs do not follow: write it without")
    found = _alternatives(reader)
    if not reader.takes(")"):
        raise reader.unexpected()
    reader.depth -= 1
    return found
