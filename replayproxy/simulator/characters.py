"""What regular expressions and grammars write alike: escapes, classes of characters, and numbers of repetitions."""

from __future__ import annotations

from replayproxy.simulator.language import PRINTABLE, BadLanguage, Characters, Node, Repeat, complement

LONGEST_SOURCE = 20_000
"""Characters of an expression or a grammar."""

MOST_NESTED = 50
"""Brackets within brackets."""

DIGITS = ((0x30, 0x39),)
WORD = ((0x61, 0x7A), (0x41, 0x5A), (0x30, 0x39), (0x5F, 0x5F))
SPACE = ((0x20, 0x20),)
"""White space is drawn as a space; what is excluded as white space is all of it."""

ALL_SPACE = ((0x09, 0x0D), (0x20, 0x20))

CLASSES = {"d": DIGITS, "w": WORD, "s": SPACE}
CONTROL = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "0": "\0", "a": "\a", "b": "\b"}
HEXADECIMAL = {"x": 2, "u": 4, "U": 8}

Ranges = tuple[tuple[int, int], ...]


class ExpressionReader:
    """Reads a source from left to right. Raises `BadLanguage`."""

    def __init__(self, source: str) -> None:
        if len(source) > LONGEST_SOURCE:
            raise BadLanguage(f"has {len(source)} characters: the simulator reads at most {LONGEST_SOURCE}")
        self.source = source
        self.at = 0
        self.depth = 0

    @property
    def next(self) -> str:
        """The next character; empty at the end."""
        return self.source[self.at : self.at + 1]

    def take(self) -> str:
        """Read a character. Raises at the end."""
        if self.at >= len(self.source):
            raise BadLanguage("ends in the middle")
        self.at += 1
        return self.source[self.at - 1]

    def takes(self, text: str) -> bool:
        """Read this text if it is next."""
        if not self.source.startswith(text, self.at):
            return False
        self.at += len(text)
        return True

    def enter(self) -> None:
        """A bracket opens."""
        self.depth += 1
        if self.depth > MOST_NESTED:
            raise BadLanguage(f"has more than {MOST_NESTED} brackets within each other")

    def unexpected(self) -> BadLanguage:
        """The error for what is next."""
        if not self.next:
            return BadLanguage("ends in the middle")
        return BadLanguage(f"has {self.next!r} at character {self.at + 1}, where it has no meaning")

    # What both write

    def escape(self) -> str | Characters:
        """What follows a backslash: a character, or a class of them."""
        letter = self.take()
        if letter.lower() in CLASSES:
            ranges = CLASSES[letter.lower()]
            if letter.islower():
                return Characters(ranges)
            return complement(ALL_SPACE if letter == "S" else ranges)
        if letter in HEXADECIMAL:
            digits = self.source[self.at : self.at + HEXADECIMAL[letter]]
            self.at += len(digits)
            try:
                return chr(int(digits, 16))
            except (ValueError, OverflowError):
                raise BadLanguage(f"has an escape \\{letter}{digits} that is no character") from None
        if letter in CONTROL:
            return CONTROL[letter]
        if letter.isalnum():
            raise BadLanguage(f"has \\{letter}, which the simulator does not know: write it without")
        return letter

    def character_class(self) -> Characters:
        """What stands between brackets, behind the first one."""
        excludes = self.takes("^")
        ranges: list[tuple[int, int]] = []
        is_first = True
        while is_first or self.next != "]":
            is_first = False
            first = self._member()
            if isinstance(first, Characters):
                ranges += first.ranges
                continue
            if self.next == "-" and self.source[self.at + 1 : self.at + 2] not in ("]", ""):
                self.take()
                last = self._member()
                if isinstance(last, Characters) or ord(last) < ord(first):
                    raise BadLanguage("has a range of characters with its end before its beginning")
                ranges.append((ord(first), ord(last)))
            else:
                ranges.append((ord(first), ord(first)))
        self.take()
        return complement(tuple(ranges)) if excludes else Characters(tuple(ranges))

    def _member(self) -> str | Characters:
        character = self.take()
        return self.escape() if character == "\\" else character

    def repeated(self, part: Node) -> Node:
        """The part with the quantifier that follows it, if one does. Raises for a second one."""
        if self.takes("*"):
            part = Repeat(part, 0, None)
        elif self.takes("+"):
            part = Repeat(part, 1, None)
        elif self.takes("?"):
            part = Repeat(part, 0, 1)
        elif self.next == "{" and (bounds := self._bounds()) is not None:
            part = Repeat(part, *bounds)
        else:
            return part
        if self.next in ("*", "+"):
            raise self.unexpected()
        return part

    def _bounds(self) -> tuple[int, int | None] | None:
        """`{2}`, `{2,}`, `{,5}` or `{2,5}`; None where something else stands there, and then nothing is read."""
        end = self.source.find("}", self.at)
        least, comma, most = self.source[self.at + 1 : end].partition(",")
        least, most = least.strip(), most.strip()
        numbers = [number for number in (least, most) if number]
        if end < 0 or not numbers or not all(number.isascii() and number.isdigit() for number in numbers):
            return None
        if any(len(number) > 9 for number in numbers):
            raise BadLanguage("repeats something more than a billion times")
        self.at = end + 1
        first = int(least or 0)
        return first, first if not comma else int(most) if most else None


def anything() -> Characters:
    """What a dot means: one printable character."""
    return Characters(PRINTABLE)
