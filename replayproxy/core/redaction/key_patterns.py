"""Patterns of API keys and tokens: one row per kind, with its source.

The table is our own. detect-secrets, the best known set in Python, is made for lines of source code: it reports lines,
not positions, keeps its settings in a global, lacks Anthropic, Hugging Face and Google, and was last released in 2024.
Patterns without a source are those of gitleaks (`config/gitleaks.toml`, MIT). Each has a prefix that does not begin a
word in prose, base64 or hex.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

_WORD = rb"(?:(?<![A-Za-z0-9])|(?<=\\[bfnrt])|(?<=\\u[0-9a-fA-F]{4}))"
"""The start of a word. In JSON also right after an escape, whose last letter does not belong to the word."""


class KeyPattern(NamedTuple):
    """A kind of secret. Every secret of the kind contains one of `hints`. A named group is the part to mask; without
    one it is the whole match."""

    name: str
    hints: tuple[bytes, ...]
    pattern: bytes


KEY_PATTERNS = (
    # OpenAI and compatible servers: Anthropic (sk-ant-), OpenRouter (sk-or-v1-), DeepSeek, LiteLLM.
    # A digit is required: `sk-` also begins hyphenated words.
    KeyPattern("sk- key", (b"sk-",), rb"sk-(?=[A-Za-z0-9_-]*[0-9])[A-Za-z0-9_-]{20,}"),
    KeyPattern("Hugging Face token", (b"hf_", b"api_org_"), rb"(?:hf|api_org)_[A-Za-z0-9]{30,}"),
    KeyPattern(
        "AWS access key id", (b"AKIA", b"ASIA", b"ABIA", b"ACCA"), rb"A(?:KIA|SIA|BIA|CCA)[A-Z2-7]{16}(?![A-Za-z0-9])"
    ),
    KeyPattern("GitHub token", (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"), rb"gh[pousr]_[A-Za-z0-9]{36,}"),
    KeyPattern("GitHub token", (b"github_pat_",), rb"github_pat_[A-Za-z0-9_]{36,}"),
    KeyPattern("GitLab token", (b"glpat-",), rb"glpat-[A-Za-z0-9_.-]{20,}"),
    KeyPattern(
        "Slack token", tuple(b"xox%c-" % kind for kind in b"abeoprs"), rb"xox[abeoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,}"
    ),
    KeyPattern("Slack app token", (b"xapp-",), rb"xapp-[0-9]-[A-Za-z0-9]+-[0-9]+-[A-Za-z0-9]+"),
    KeyPattern(
        "Slack webhook",
        (b"hooks.slack.com",),
        rb"hooks\.slack\.com/(?:services|workflows)/(?P<hook>[A-Za-z0-9+/]{40,})",
    ),
    KeyPattern("Google API key", (b"AIza",), rb"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
    # developers.google.com/identity/protocols/oauth2
    KeyPattern("Google OAuth token", (b"ya29.",), rb"ya29\.[A-Za-z0-9_-]{20,}"),
    KeyPattern("Google OAuth secret", (b"GOCSPX-",), rb"GOCSPX-[A-Za-z0-9_-]{28}"),
    KeyPattern("Stripe key", (b"k_live_", b"k_test_"), _WORD + rb"[rsp]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    # docs.stripe.com/webhooks; Standard Webhooks
    KeyPattern("webhook secret", (b"whsec_",), rb"whsec_[A-Za-z0-9+/=]{24,}"),
    # RFC 7515 §3.1, RFC 7516 §3.1: the header is a JSON object, so its base64 begins with eyJ
    KeyPattern(
        "JWT", (b"eyJ",), rb"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]+){0,2}"
    ),
    # See `_private_keys`
    KeyPattern("private key", (b"PRIVATE KEY",), rb"-----BEGIN(?: [A-Z0-9]+)* PRIVATE KEY(?: BLOCK)?-----"),
    KeyPattern("npm token", (b"npm_",), rb"npm_[A-Za-z0-9]{36}"),
    KeyPattern("PyPI token", (b"pypi-AgE",), rb"pypi-AgE[A-Za-z0-9_-]{50,}"),
    KeyPattern("SendGrid key", (b"SG.",), rb"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    KeyPattern("Groq key", (b"gsk_",), rb"gsk_[A-Za-z0-9]{40,}"),  # console.groq.com
    KeyPattern("Replicate token", (b"r8_",), rb"r8_[A-Za-z0-9]{37}"),  # replicate.com/docs
    KeyPattern("Perplexity key", (b"pplx-",), rb"pplx-[A-Za-z0-9]{40,}"),
    KeyPattern("xAI key", (b"xai-",), rb"xai-[A-Za-z0-9]{60,}"),  # docs.x.ai
    KeyPattern("NVIDIA key", (b"nvapi-",), rb"nvapi-[A-Za-z0-9_-]{40,}"),  # docs.api.nvidia.com
    KeyPattern("Databricks token", (b"dapi",), rb"dapi[0-9a-f]{32}(?![A-Za-z0-9])"),
    # Azure's shared access signatures, AWS Signature Version 4, Google Cloud's signed URLs
    KeyPattern(
        "signature in a URL",
        (b"sig=", b"ignature="),
        rb"(?<=[?&;])(?:sig|(?:[Xx]-(?:[Aa]mz|[Gg]oog)-)?[Ss]ignature)=(?P<signature>[A-Za-z0-9%+/=_.~-]{20,})",
    ),
    # RFC 3986 §3.2.1: a password in a URL
    KeyPattern("password in a URL", (b"://",), rb"://[^\s/:@\"'<>\\]{1,64}:(?P<password>[^\s/@\"'<>\\]{3,128})@"),
)

HINTS = tuple(hint for kind in KEY_PATTERNS for hint in kind.hints)

_PATTERNS = {kind.pattern: re.compile(kind.pattern) for kind in KEY_PATTERNS}
_WORD_START = re.compile(_WORD)
_SECRET_GROUPS = ("hook", "password", "signature")
_INNER_HINTS = (
    b"PRIVATE KEY",
    b"k_live_",
    b"k_test_",
    b"sig=",
    b"ignature=",
)  # hints that do not stand at the beginning

# Hints by their quickest search: most end in a mark that is rare in prose, and some begin with an A.
_BY_MARK = {
    mark: tuple(hint[:-1] for hint in HINTS if hint.endswith(mark) and hint.count(b"_") + hint.count(b"-") < 2)
    for mark in (b"-", b"_")
}
_BY_A = re.compile(b"A(?:" + b"|".join(hint[1:] for hint in HINTS if hint.startswith(b"A")) + b")")
_REMAINING_HINTS = [
    (re.sub(rb"[a-z.]", b"", hint)[:1], hint)
    for hint in HINTS
    if not (hint.startswith(b"A") or hint == b"://" or hint[:-1] in _BY_MARK.get(hint[-1:], ()))
]
_HINTS_BY_LETTER = tuple(
    (rare, tuple(hint for letter, hint in _REMAINING_HINTS if letter == rare)) for rare in dict(_REMAINING_HINTS)
)
"""Hints by a letter that is rare in prose, which is found 30 times faster than the hint."""

SHORT_TEXT_BYTES = 150
"""Length below which one regular expression is faster than twenty searches."""

_ANY_HINT = re.compile(b"|".join(map(re.escape, HINTS)))
_BASE64_DATA = re.compile(rb";base64,[A-Za-z0-9+/=]*")

_PREFIXES = (
    *(hint for kind in KEY_PATTERNS for hint in kind.hints if hint not in _INNER_HINTS),
    b"sk_",
    b"rk_",
    b"pk_",
)
# Every character of `\s`. With a separator left in the last word, `_INCOMPLETE` would read the rest of the text again
# for each `&`: quadratic.
_SEPARATORS = bytes.maketrans(b'\n\r\v\f\t",{}<>', b" " * 11)
_PEM_OVER = re.compile(rb"-----END[^-]*-----")
_PEM_END = re.compile(rb"-----END(?: [A-Z0-9]+)* PRIVATE KEY(?: BLOCK)?-----")
_NOT_IN_PEM = re.compile(rb"[\"<>]")
_PEM_BODY = re.compile(rb"(?:[A-Za-z0-9+/=:,.\s-]|\\{1,8}[nrt])*+")
_MAX_PEM_BYTES = 16 * 1024

_KEY_CHARACTERS = {b"sk-": re.compile(rb"[A-Za-z0-9_-]+"), b"eyJ": re.compile(rb"[A-Za-z0-9_-]+")}
"""Characters of a key per hint. If a key does not match at the start of such a run, none matches later in it: to try
each hint would read the rest of the run again (`sk-sk-sk-…` of 64 kB took nine seconds)."""

# The end of a text that may be the start of a key: a hint and what may follow, or a prefix of a hint.
_INCOMPLETE = re.compile(
    rb'(?:[?&;]|://)[^\s"{},<>]*\Z|:/?\Z|-{1,5}[A-Z]*\Z|'
    + _WORD
    + rb"(?:(?:"
    + b"|".join(map(re.escape, _PREFIXES))
    + rb')[^\s"{},<>]*|'
    + b"|".join(map(re.escape, sorted({word[:size] for word in _PREFIXES for size in range(1, len(word))})))
    + rb")\Z"
)
_MAX_PREFIX_BYTES = 24
"""Length of the longest prefix, `&X-Goog-Signature=`, with some room."""

_MAX_KEY_BYTES = 64 * 1024
"""Bytes of an unfinished key. A longer one is cut in two, and only found in part."""


def has_hint(text: bytes) -> bool:
    """Return whether a full search is needed. 3 ns per byte; to search each hint by itself would take 15."""
    # An Aho-Corasick automaton (ahocorasick-rs 1.0.3) was measured in this place: a streamed answer of 5.5 kB is masked
    # in 82 us instead of 91, one of 11 kB in 284 instead of 294, a request in 17 instead of 14, because most texts are
    # short and cached. Too little for a compiled dependency.
    if len(text) < SHORT_TEXT_BYTES:
        return _has_hint_cached(text)
    if b";base64," in text:
        text = _BASE64_DATA.sub(b"", text)
    for rare, hints in _HINTS_BY_LETTER:
        if rare in text:
            for hint in hints:
                if hint in text:
                    return True
    for mark, stems in _BY_MARK.items():
        if mark in text:
            for word in text.split(mark)[:-1]:
                if word.endswith(stems):
                    return True
    return (b"://" in text and b"@" in text) or (b"A" in text and _BY_A.search(text) is not None)


@lru_cache(1024)
def _has_hint_cached(text: bytes) -> bool:
    """Return the same for a short text, cached: each answer has the same header fields."""
    return _ANY_HINT.search(text) is not None


def find(text: bytes, start: int, stop: int) -> list[tuple[int, int, str]]:
    """Return the spans and kinds of keys in a part of a text. They may overlap."""
    found: list[tuple[int, int, str]] = []
    for kind in KEY_PATTERNS:
        if kind.name == "private key":
            found += _private_keys(kind, text, start, stop)
            continue
        for match in _matches(kind, text, start, stop):
            part = next((part for part in _SECRET_GROUPS if part in match.re.groupindex), 0)
            found.append((*match.span(part), kind.name))
    return found


def _private_keys(kind: KeyPattern, text: bytes, start: int, stop: int) -> Iterator[tuple[int, int, str]]:
    r"""Yield the spans from BEGIN to the next END (RFC 7468 §10, RFC 9580 §6.2). A key that is cut counts too.

    Within JSON its lines end in `\\n`. Not one regular expression: it would search the next END from each BEGIN again.
    """
    if text.find(b"PRIVATE KEY", start, stop) < 0:
        return
    ends = [match.span() for match in _PEM_END.finditer(text, start, stop)]
    next_end = end = 0
    other_text = -1
    for begin in _PATTERNS[kind.pattern].finditer(text, start, stop):
        if begin.start() < end:
            continue
        body = begin.end()
        while next_end < len(ends) and ends[next_end][0] < body:
            next_end += 1
        if other_text < body:
            match = _NOT_IN_PEM.search(text, body, stop)
            other_text = stop if match is None else match.start()
        if next_end < len(ends) and ends[next_end][0] <= min(other_text, body + _MAX_PEM_BYTES):
            end = ends[next_end][1]
        else:
            # No END: mask as much as looks like a key, up to the longest one.
            rest = _PEM_BODY.match(text, body, min(stop, body + _MAX_PEM_BYTES))
            end = body if rest is None else rest.end()
        yield begin.start(), end, kind.name


def _matches(kind: KeyPattern, text: bytes, start: int, stop: int) -> Iterator[re.Match[bytes]]:
    """Yield matches at word starts. A hint is found by `bytes.find`; the pattern is tried only there."""
    pattern = _PATTERNS[kind.pattern]
    for hint in kind.hints:
        run = _KEY_CHARACTERS.get(hint)
        at = text.find(hint, start, stop)
        if at >= 0 and hint in _INNER_HINTS:
            yield from pattern.finditer(text, start, stop)
            continue
        while at >= 0:
            after = at + 1
            if (hint == b"://" or _WORD_START.match(text, at)) and (match := pattern.match(text, at, stop)) is not None:
                yield match
                after = match.end()
            elif run is not None and _WORD_START.match(text, at) and (rest := run.match(text, at, stop)) is not None:
                after = rest.end()
            at = text.find(hint, after, stop)


def incomplete_from(text: bytes) -> int:
    """Return where a key may begin whose end has not arrived, or the length of the text."""
    tail = text[-_MAX_KEY_BYTES:]
    offset = len(text) - len(tail)
    begin = tail.rfind(b"-----BEGIN")
    if begin >= 0 and _PEM_OVER.search(tail, begin) is None:
        return offset + begin
    near = max(0, len(tail) - SHORT_TEXT_BYTES)
    last = near + tail[near:].translate(_SEPARATORS).rfind(b" ") + 1
    if last == near > 0:
        last = tail.translate(_SEPARATORS).rfind(b" ") + 1
    run = tail[last:]
    if b"\\u" in run or run.endswith(b"\\"):
        return offset + last
    if len(run) > SHORT_TEXT_BYTES and not has_hint(run):
        last = len(tail) - _MAX_PREFIX_BYTES  # a word longer than every prefix that contains none
    match = _INCOMPLETE.search(tail, last)
    return len(text) if match is None else offset + match.start()
