"""Everything that reads what strangers send takes work in proportion to its size: steps are counted at n and 2n."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from replayproxy.core.identity import canonical
from replayproxy.core.identity.difference import nearest, similarity
from replayproxy.core.identity.normalise import BUILT_IN, normalisers
from replayproxy.core.identity.rules import Matcher, MatchRules, _multipart
from replayproxy.core.identity.sketch import sketch
from replayproxy.core.redaction import Redactor, event_text, key_patterns
from replayproxy.core.redaction import stream_redactor as veils
from replayproxy.core.redaction.credentials import Credentials, _overlap
from replayproxy.core.redaction.detector import Detector
from replayproxy.model import Chunks, Head, Request
from replayproxy.ports import Neighbour
from tests.doubles.fakes import JSON
from tests.steps import grows_in_proportion

SALT = b"0123456789abcdef"

BODIES: dict[str, Callable[[int], bytes]] = {
    "no line end": lambda n: b"data: " + b"a" * n,
    "no line end, parameters": lambda n: b"data: " + b"&\v" * (n // 2),
    "half keys": lambda n: b"data: " + b"sk-" * (n // 3),
    "half keys, a line each": lambda n: b"data: sk-\n\n" * (n // 11),
    "half keys, a word each": lambda n: b"data: " + b"sk-aaaaaaaaaaaaaaaaaaa " * (n // 23),
    "half tokens": lambda n: b"data: " + b"eyJ-" * (n // 4),
    "whole keys": lambda n: b'data: {"content":"sk-proj-aB3aB3aB3aB3aB3aB3 "}\n\n' * (n // 48),
    "escapes": lambda n: b'data: {"content":"' + rb"\u0061" * (n // 6) + b'"}\n\n',
    "escapes without an end": lambda n: b'data: {"content":"' + rb"\u0061" * (n // 6),
    "backslashes": lambda n: b'data: {"content":"' + b"\\" * n,
    "quotes without an end": lambda n: b'data: {"content":"' + rb"\"" * (n // 2),
    "private keys": lambda n: b"data: " + b"-----BEGIN PRIVATE KEY-----_" * (n // 28),
    "a private key without an end": lambda n: b"data: -----BEGIN PRIVATE KEY-----" + b"a" * n,
    "log probabilities in one another": lambda n: b"data: " + b'{"logprobs":[' * (n // 13),
    "many channels": lambda n: b"".join(b'data: {"index":%d,"content":"x"}\n\n' % i for i in range(n // 35)),
    "a credential at every byte": lambda n: b'data: {"content":"' + b"a" * n + b'"}',
    "brackets": lambda n: b"[" * n,
    "URLs": lambda n: b"data: " + b"://a:aaaa" * (n // 9),
    "masks": lambda n: b"data: " + b"*~redacted~*" * (n // 12),
}
KEYS = (b"a" * 300, b'k "3\\y' + b"a" * 100, b"s3cret-k3y-0123")


def streamed(size: int, name: str, media: str) -> Callable[[], object]:
    """An answer that is redacted as it comes, in small pieces."""
    body = BODIES[name](size)

    def run() -> None:
        stream_redactor = Redactor(SALT).stream_redactor(Credentials(KEYS))
        head = stream_redactor.head(Head(0, 200, (("Content-Type", media),)))
        for start in range(0, len(body), 256):
            piece = body[start : start + 256]
            stream_redactor.feed(Chunks(piece, (len(piece),), (start,)))
            stream_redactor.decide()
        stream_redactor.finish(head)

    return run


@pytest.mark.parametrize("name", list(BODIES))
@pytest.mark.parametrize("media", ["text/event-stream", "text/plain"])
def test_an_answer_is_redacted_in_proportion(name: str, media: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Piece by piece, whatever may yet become a secret. Bounds are smaller here, so that all of them are met."""
    monkeypatch.setattr(veils, "RETRY_BYTES", 256)
    monkeypatch.setattr(veils, "MAX_LINE_BYTES", 1024)
    monkeypatch.setattr(key_patterns, "_MAX_KEY_BYTES", 256)
    assert grows_in_proportion(partial(streamed, name=name, media=media), 4_000)


def searched(size: int, name: str, json: bool) -> Callable[[], object]:
    """A text that is searched all at once, also for what may begin at its end."""
    finder, body = Detector(Credentials(KEYS), [], SALT), BODIES[name](size)
    return lambda: (finder.mask(body, json=json), finder.incomplete_from(body))


@pytest.mark.parametrize("name", list(BODIES))
@pytest.mark.parametrize("json", [True, False])
def test_a_text_is_searched_in_proportion(name: str, json: bool) -> None:
    """What is found in a body, and what may begin at its end."""
    assert grows_in_proportion(partial(searched, name=name, json=json), 4_000)


@pytest.mark.parametrize("name", list(BODIES))
def test_a_request_is_redacted_keyed_and_sketched_in_proportion(name: str) -> None:
    """With rules of every kind."""
    rules = MatchRules(normalise=(*BUILT_IN, "x=(a+)+$"), ignore=("$..a",))

    def prepared(size: int) -> Callable[[], object]:
        body = b'{"prompt":"' + BODIES[name](size).replace(b'"', b" ").replace(b"\n", b" ").rstrip(b"\\") + b'"}'
        matcher = Matcher(rules, Redactor(SALT, ("re:(q+)+z", "$.metadata.email")))
        request = Request("POST", "/v1/completions?a=" + "b" * size, JSON, body)
        return lambda: (matcher.key(request), sketch(matcher.compared(request)))

    assert grows_in_proportion(prepared, 4_000)


def channelled(size: int, name: str) -> Callable[[], object]:
    """What events say together."""
    body = BODIES[name](size)
    return lambda: event_text.TextFields().channels(body)


def test_deltas_are_read_in_proportion() -> None:
    """Of one channel and of many."""
    for name in ("whole keys", "many channels", "quotes without an end"):
        assert grows_in_proportion(partial(channelled, name=name), 4_000)
    tokens = BODIES["log probabilities in one another"]
    assert grows_in_proportion(lambda size: lambda: list(event_text.token_masks(tokens(size))), 4_000)


def multipart(size: int) -> bytes:
    """Many parts."""
    return (
        b"".join(b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n' for _ in range(size // 50)) + b"--b--"
    )


def test_multipart_is_read_in_proportion() -> None:
    """Many parts, and a field of many parameters, which the library would take long to read."""
    assert grows_in_proportion(
        lambda size: lambda: _multipart("multipart/form-data; boundary=b", multipart(size)), 8_000
    )
    assert _multipart('multipart/form-data; a="' + ";" * 2_000, multipart(100)) is None


DOCUMENTS: dict[str, Callable[[int], bytes]] = {
    "keys": lambda n: b"{" + b",".join(b'"k%d":%d' % (i, i) for i in range(n // 10)) + b"}",
    "numbers": lambda n: b"[" + b",".join([b"1.5e300"] * (n // 8)) + b"]",
    "large integers": lambda n: b"[" + b",".join([b"9" * 60] * (n // 61)) + b"]",
    "depth": lambda n: b"[" + b",".join([b"[" * 60 + b"]" * 60] * (n // 121)) + b"]",
    "escapes": lambda n: b'["' + rb"\u00e9" * (n // 6) + b'"]',
    "strings": lambda n: b"[" + b",".join([b'"word"'] * (n // 7)) + b"]",
}


@pytest.mark.parametrize("name", list(DOCUMENTS))
def test_json_is_spelled_and_compared_in_proportion(name: str) -> None:
    """Its one spelling, which is about as long as what came, its sketch, and what is said of a miss."""
    matcher = Matcher(MatchRules())

    def prepared(size: int) -> Callable[[], object]:
        first = matcher.compared(Request("POST", "/", JSON, b'{"a":1,"b":' + DOCUMENTS[name](size) + b"}"))
        second = matcher.compared(Request("POST", "/", JSON, b'{"a":2,"b":' + DOCUMENTS[name](size) + b"}"))
        return lambda: (matcher.form(Request("POST", "/", JSON, DOCUMENTS[name](size))), similarity(first, second))

    assert grows_in_proportion(prepared, 4_000)
    assert len(canonical.dumps(canonical.loads(DOCUMENTS[name](8_000)))) < 16_000


def test_the_longest_common_end_is_found_in_proportion() -> None:
    """Of a needle that begins at every byte."""
    needle = b"ab" * 2_000 + b"c"
    assert _overlap(b"ab" * 1_999, needle) == 3_998
    assert _overlap(b"ab" * 1_999 + b"x", needle) == 0
    assert grows_in_proportion(lambda size: lambda: _overlap(b"cd" * size + b"x", b"cd" * size + b"e"), 2_000)


def test_differences_beyond_those_shown_are_only_counted() -> None:
    """A million different keys are a miss in seconds, not in half a minute."""
    matcher = Matcher(MatchRules())
    words = b'"messages":[{"content":"the same words in both of them"}]'
    bodies = [
        b"{" + words + b"," + b",".join(b'"k%d":"2026-01-0%d"' % (i, day) for i in range(3_000)) + b"}"
        for day in (1, 2)
    ]
    stored, asked = (Request("POST", "/v1/chat/completions", JSON, body) for body in bodies)
    found = nearest(matcher, asked, [Neighbour("c", "id", stored, 200)])
    assert found is None or (len(found.differences) == 8 and found.more > 0)


def test_normalisers_of_our_own_are_kept() -> None:
    """What each one replaces; a drive's letter begins a path only once."""
    (paths,) = normalisers(("tmp-path",))
    assert paths.of(r"see C:\Users\me\AppData\Local\Temp\x1 now") == "see <tmp-path> now"
