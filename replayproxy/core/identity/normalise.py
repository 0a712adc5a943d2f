"""What changes from run to run and means nothing: names for it, and a placeholder in its place.

Off unless asked for, because each one makes requests equal that are not. Works on the text values of a request; knows
nothing of JSON. Where two values may be told apart (`uuid`, `tool-call-id`), the placeholder counts them: equal stays
equal within a request, and different stays different.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from replayproxy.core.patterns import Refused, TextPattern
from replayproxy.errors import SettingsError, setting

_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sep(?:t(?:ember)?)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_WEEKDAY = r"(?:(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?,? )?"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"

BUILT_IN = {
    # OpenAI `call_…`, vLLM `chatcmpl-tool-…`, Anthropic `toolu_…`, Mistral's nine letters are no shape of their own.
    "tool-call-id": r"\b(?:call|toolu)_[A-Za-z0-9_-]{8,64}|\bchatcmpl-tool-[0-9a-f]{16,32}\b",
    # RFC 9562 §4.
    "uuid": r"\b[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}\b",
    # Linux, macOS, Windows: the folder that is for it, and all that hangs on it.
    "tmp-path": (
        r"(?:(?<![\w/.])(?:/private)?/(?:var/)?tmp|(?:/private)?/var/folders)/[^\s\"'<>|:;,)\]}]+"
        r"|\b[A-Za-z]:\\(?:[^\s\"'<>|:\\]+\\)*Te?mp\\[^\s\"'<>|:;,)\]}]+"
    ),
    # RFC 3339 and what looks like it; seconds or milliseconds since 1970 from 2001 to 2033.
    "timestamp": (
        r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?: ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d))?(?![\d:])"
        r"|(?<![\w.])1\d{9}(?:\.\d{1,9}|\d{3}|\d{6}|\d{9})?(?![\w.])"
    ),
    "date": (
        r"\b\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])\b"
        rf"|\b{_WEEKDAY}{_DAY}(?: of)? {_MONTH},? \d{{4}}\b|\b{_WEEKDAY}{_MONTH} {_DAY},? \d{{4}}\b"
        r"|\b(?:0?[1-9]|[12]\d|3[01])[./](?:0?[1-9]|[12]\d|3[01])[./](?:19|20)\d\d\b"
    ),
}
"""In the order in which they are applied: a timestamp holds a date, a path may hold a uuid."""

_COUNTED = ("tool-call-id", "uuid")


@dataclass(frozen=True, slots=True)
class Normaliser:
    """One name and what it stands for."""

    name: str
    pattern: re.Pattern[str] | TextPattern
    counted: bool = False

    def of(self, text: str, seen: dict[str, int] | None = None) -> str:
        """The text with placeholders. `seen` numbers what is counted; give one dict for one request."""
        if isinstance(self.pattern, TextPattern):
            return self.pattern.replaced(text, f"<{self.name}>")
        if not self.counted:
            return self.pattern.sub(f"<{self.name}>", text)
        numbers = {} if seen is None else seen

        def numbered(found: re.Match[str]) -> str:
            return f"<{self.name}:{numbers.setdefault(found[0], len(numbers) + 1)}>"

        return self.pattern.sub(numbered, text)


def normalisers(rules: Sequence[str]) -> list[Normaliser]:
    """The ones asked for: names of KNOWN in its order, then each `NAME=REGEX`. Raises `SettingsError`."""
    named = [name for name in BUILT_IN if name in rules]
    found = [Normaliser(name, re.compile(BUILT_IN[name]), name in _COUNTED) for name in named]
    for rule in rules:
        name, equals, pattern = rule.partition("=")
        if not equals:
            if name not in BUILT_IN:
                raise SettingsError(
                    f"{setting('match_normalise', repr(name))} is not known: use {', '.join(sorted(BUILT_IN))},"
                    " or NAME=REGEX"
                )
            continue
        try:
            found.append(Normaliser(name, TextPattern(pattern)))
        except Refused as reason:
            raise SettingsError(f"{setting('match_normalise', repr(rule))} {reason}") from reason
    return found


def likeness(one: str, other: str) -> str | None:
    """The known name under which two different texts are the same, if there is one."""
    if one == other:
        return None
    for normaliser in normalisers(tuple(BUILT_IN)):
        if normaliser.of(one) == normaliser.of(other):
            return normaliser.name
    return None
