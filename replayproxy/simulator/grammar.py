"""Read a grammar as a language, in the two forms that vLLM's structured outputs take.

    EBNF (GBNF)   root ::= "yes" | "no" [0-9]+         of llama.cpp and xgrammar; the first text is the rule `root`
    Lark          start: "yes" | DIGIT+                the first text is the rule `start`; terminals in capitals
                  DIGIT: /[0-9]/

Directives of Lark that change no text (`%ignore`) are read over; terminals of its library can be imported.
"""

from __future__ import annotations

import re

from replayproxy.simulator.characters import ExpressionReader, anything
from replayproxy.simulator.language import (
    Alternation,
    BadLanguage,
    Characters,
    Concatenation,
    Language,
    Literal,
    Node,
    Repeat,
    Rule,
)
from replayproxy.simulator.regex import read_regex

_EBNF_RULE = re.compile(r"[ \t]*([A-Za-z_][A-Za-z0-9_-]*)[ \t]*::=")
_LARK_RULE = re.compile(r"[ \t]*[?!]*([A-Za-z_][A-Za-z0-9_]*)(?:\.-?\d+)?[ \t]*:")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_IMPORT = re.compile(r"[ \t]*%import[ \t]+common\.([A-Z_]+)(?:[ \t]*->[ \t]*([A-Za-z_]+))?")

LIBRARY = {
    "DIGIT": "[0-9]",
    "HEXDIGIT": "[0-9a-fA-F]",
    "INT": "[0-9]+",
    "SIGNED_INT": "[+-]?[0-9]+",
    "DECIMAL": r"[0-9]+\.[0-9]*|\.[0-9]+",
    "FLOAT": r"[0-9]+\.[0-9]+(e[+-]?[0-9]+)?",
    "SIGNED_FLOAT": r"[+-]?[0-9]+\.[0-9]+(e[+-]?[0-9]+)?",
    "NUMBER": r"[0-9]+(\.[0-9]+)?",
    "SIGNED_NUMBER": r"[+-]?[0-9]+(\.[0-9]+)?",
    "ESCAPED_STRING": r'"[a-zA-Z0-9 ]*"',
    "LETTER": "[a-zA-Z]",
    "LCASE_LETTER": "[a-z]",
    "UCASE_LETTER": "[A-Z]",
    "WORD": "[a-zA-Z]+",
    "CNAME": "[a-zA-Z_][a-zA-Z0-9_]*",
    "WS": "[ ]+",
    "WS_INLINE": "[ ]+",
    "NEWLINE": r"\n+",
    "CR": r"\r",
    "LF": r"\n",
}
"""Terminals of Lark's module `common`, in the texts of them that are drawn here."""


def read_grammar(source: str) -> Language:
    """The language of a grammar. Raises `BadLanguage`."""
    lines = source.splitlines()
    is_lark = not any(_EBNF_RULE.match(line) for line in lines)
    texts, rules = _rules_of(lines, _LARK_RULE if is_lark else _EBNF_RULE, is_lark=is_lark)
    for name, text in texts.items():
        rules[name] = _Expression(text, is_lark=is_lark).node(name)
    start = "start" if is_lark else "root"
    if start not in rules:
        raise BadLanguage(f"has no rule {start!r}, with which it begins")
    return Language(Rule(start), rules)


def _rules_of(lines: list[str], rule: re.Pattern[str], *, is_lark: bool) -> tuple[dict[str, str], dict[str, Node]]:
    """The text of each rule, which may be continued on the lines that follow; and what is imported."""
    texts: dict[str, str] = {}
    imported: dict[str, Node] = {}
    name = ""
    for line in lines:
        if not line.strip() or line.lstrip().startswith(("#", "//")):
            continue
        if is_lark and line.lstrip().startswith("%"):
            if (found := _IMPORT.match(line)) is not None:
                library = LIBRARY.get(found[1])
                if library is None:
                    raise BadLanguage(f"imports common.{found[1]}, which the simulator does not know: write its rule")
                imported[found[2] or found[1]] = read_regex(library).root
            elif not line.lstrip().startswith("%ignore"):
                raise BadLanguage(f"has the directive {line.split()[0]}, which the simulator does not know")
            continue
        begins = rule.match(line)
        if begins is not None:
            name = begins[1]
            texts[name] = line[begins.end() :]
        elif name:
            texts[name] += "\n" + line
        else:
            raise BadLanguage(f"begins with {line.strip()[:40]!r}, which is no rule")
    return texts, imported


class _Expression(ExpressionReader):
    """The right side of a rule."""

    def __init__(self, source: str, *, is_lark: bool) -> None:
        super().__init__(source)
        self._is_lark = is_lark

    def node(self, name: str) -> Node:
        """All of it. Raises `BadLanguage`."""
        try:
            found = self._alternatives()
            if self.next:
                raise self.unexpected()
        except BadLanguage as error:
            raise BadLanguage(f"{error}, in the rule {name!r}") from None
        return found

    def _alternatives(self) -> Node:
        options = [self._sequence()]
        while self.takes("|"):
            options.append(self._sequence())
        return options[0] if len(options) == 1 else Alternation(tuple(options))

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while True:
            self._skip()
            if not self.next or self.next in "|)" or (self._is_lark and self.next == "]"):
                return parts[0] if len(parts) == 1 else Concatenation(tuple(parts))
            if self._is_lark and self.takes("->"):  # names a node of the tree that Lark would make
                self._skip()
                self._name()
                continue
            parts.append(self._repeated(self._part()))

    def _repeated(self, part: Node) -> Node:
        if self._is_lark:
            self._skip_spaces()
            if self.takes("~"):
                least = self._number()
                return Repeat(part, least, self._number() if self.takes("..") else least)
        return self.repeated(part)

    def _part(self) -> Node:
        if self.takes("("):
            return self._within(")")
        if self._is_lark and self.takes("["):
            return Repeat(self._within("]"), 0, 1)
        if self.next == '"':
            return self._string()
        if self.takes("["):
            return self.character_class()
        if self._is_lark and self.takes("/"):
            return self._pattern()
        if self.takes("."):
            return anything()
        return Rule(self._name())

    def _within(self, end: str) -> Node:
        self.enter()
        found = self._alternatives()
        self._skip()
        if not self.takes(end):
            raise self.unexpected()
        self.depth -= 1
        return found

    def _string(self) -> Node:
        self.take()
        pieces: list[str] = []
        while (character := self.take()) != '"':
            escaped = self.escape() if character == "\\" else character
            if isinstance(escaped, Characters):
                raise BadLanguage("has a class of characters in a string")
            pieces.append(escaped)
        text = "".join(pieces)
        if self._is_lark and self.takes("i"):  # either case will do
            text = text.lower()
        if self._is_lark and self.takes(".."):
            self._skip()
            last = self._string()
            if not isinstance(last, Literal) or len(text) != 1 or len(last.text) != 1 or last.text < text:
                raise BadLanguage("has a range whose ends are not two characters in their order")
            return Characters(((ord(text), ord(last.text)),))
        return Literal(text)

    def _pattern(self) -> Node:
        pieces: list[str] = []
        while (character := self.take()) != "/":
            pieces.append(character + self.take() if character == "\\" else character)
        while self.next and self.next in "imslux":
            self.take()
        return read_regex("".join(pieces).replace("\\/", "/")).root

    def _name(self) -> str:
        found = _NAME.match(self.source, self.at)
        if found is None:
            raise self.unexpected()
        self.at = found.end()
        return found[0]

    def _number(self) -> int:
        self._skip_spaces()
        digits = ""
        while self.next.isdigit() and len(digits) < 9:
            digits += self.take()
        if not digits:
            raise self.unexpected()
        return int(digits)

    def _skip(self) -> None:
        """White space and comments."""
        while True:
            self._skip_spaces("\n")
            if not (self.next == "#" or self.source.startswith("//", self.at)):
                return
            end = self.source.find("\n", self.at)
            self.at = len(self.source) if end < 0 else end

    def _skip_spaces(self, also: str = "") -> None:
        while self.next and self.next in " \t\r" + also:
            self.at += 1
