"""An answer's secrets are masked at any cut and however they are spread; sizes, times and JSON stay as they were."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.core.redaction import Redactor, StreamRedactor
from replayproxy.core.redaction.credentials import Credentials
from replayproxy.model import Chunk, Chunks, End, Ending, Head, Headers, Request, Response
from tests.doubles.fakes import JSON, SSE

SALT = b"0123456789abcdef"
KEY = "s3cret-k3y-0123/45+6="
ODD = 'odd "k3y", \\ with: ünusual {chars}'
TEXT: Headers = (("content-type", "text/plain"),)
SHAPE = "sk-proj-" + "aB3" * 12


def credentials_for(secret: str) -> Credentials:
    """What a request with this key carries."""
    return Redactor(SALT).credentials(Request("POST", "/", (("Authorization", f"Bearer {secret}"),)))


def redacted_chunks(
    chunks: Sequence[bytes],
    *,
    headers: Headers = SSE,
    secret: str = KEY,
    rules: Sequence[str] = (),
    often: bool = True,
) -> list[bytes]:
    """The chunks as they are kept, decided after every one, or only at the end."""
    stream_redactor = Redactor(SALT, rules).stream_redactor(credentials_for(secret))
    head = stream_redactor.head(Head(0, 200, headers))
    kept: list[Chunk] = []
    for at, data in enumerate(chunks):
        stream_redactor.feed(Chunks.of([Chunk(at, data)]))
        if often:
            kept += stream_redactor.decide()
    _, rest = stream_redactor.finish(head)
    kept += rest
    assert [chunk.at for chunk in kept] == list(range(len(chunks)))
    return [chunk.data for chunk in kept]


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Bytes cut at these places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:stop] for start, stop in pairwise(places)]


def event(text: str, *, choice: int = 0, field: str = "content", escape: bool = False) -> bytes:
    """A delta of one choice."""
    said = orjson.dumps(text)
    if escape:
        said = b'"' + b"".join(b"\\u%04x" % code for code in _units(text)) + b'"'
    return b'data: {"choices":[{"index":%d,"delta":{"%b":%b}}]}\n\n' % (choice, field.encode(), said)


def _units(text: str) -> list[int]:
    data = text.encode("utf-16-be")
    return [data[at] << 8 | data[at + 1] for at in range(0, len(data), 2)]


def said_in(data: bytes) -> dict[tuple[int, str], str]:
    """What the events of a stream say together, by choice and field."""
    texts: dict[tuple[int, str], str] = {}
    for line in data.split(b"\n"):
        if line.startswith(b"data: {"):
            for choice in orjson.loads(line[6:])["choices"]:
                for field, text in choice["delta"].items():
                    place = (choice["index"], field)
                    texts[place] = texts.get(place, "") + text
    return texts


CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from([KEY, ODD, SHAPE]), CUTS, st.booleans())
def test_a_secret_is_masked_at_any_cut(before: str, after: str, secret: str, cuts: list[int], often: bool) -> None:
    """In a body of JSON, whatever stands around it; the body parses as before."""
    body = orjson.dumps({"text": f"{before} {secret} {after}", "n": 1.5, "list": [True, None, secret]})
    chunks = pieces(body, cuts)
    kept = redacted_chunks(chunks, headers=JSON, secret=secret, often=often)
    assert [len(chunk) for chunk in kept] == [len(chunk) for chunk in chunks]
    said = orjson.loads(b"".join(kept))
    assert secret not in said["text"]
    assert secret not in said["list"][2]
    assert said["n"] == 1.5
    assert said["list"][:2] == [True, None]


@given(
    st.text(max_size=30),
    st.sampled_from([KEY, ODD, SHAPE]),
    st.integers(1, 9),
    CUTS,
    st.booleans(),
    st.booleans(),
    st.integers(1, 3),
)
def test_a_secret_is_masked_however_it_is_spread(
    before: str, secret: str, step: int, cuts: list[int], escape: bool, often: bool, choices: int
) -> None:
    """Some characters an event, escaped or not, several choices in turns, HTTP chunks at any cut."""
    text = f"{before} {secret} so"
    deltas = [text[at : at + step] for at in range(0, len(text), step)]
    stream = b"".join(event(delta, choice=n, escape=escape) for delta in deltas for n in range(choices))
    stream += b"data: [DONE]\n\n"
    chunks = pieces(stream, cuts)
    kept = redacted_chunks(chunks, secret=secret, often=often)
    assert [len(chunk) for chunk in kept] == [len(chunk) for chunk in chunks]
    said = said_in(b"".join(kept))
    assert len(said) == choices
    for spoken in said.values():
        assert secret not in spoken
        assert spoken.startswith(f"{before} *~")


PLACES = st.lists(st.tuples(st.integers(0, 11), st.sampled_from(["id", "model", "user", "name"])), min_size=1)


@given(st.sampled_from([KEY, ODD, SHAPE]), PLACES, CUTS, st.booleans(), st.sampled_from(["content", "reasoning"]))
def test_a_secret_is_masked_beside_what_is_said(
    secret: str, places: list[tuple[int, str]], cuts: list[int], often: bool, field: str
) -> None:
    """Between texts that come token by token: in the first event, the last, one of many that are alike, or all."""
    stream = b""
    for number in range(12):
        more = {name: f"by {secret} here" for at, name in places if at == number}
        said = {"id": "chat-1", "choices": [{"index": 0, "delta": {field: " sea"}}], **more}
        stream += b"data: " + orjson.dumps(said) + b"\n\n"
    chunks = pieces(stream, cuts)
    kept = redacted_chunks(chunks, secret=secret, often=often)
    assert [len(chunk) for chunk in kept] == [len(chunk) for chunk in chunks]
    events = [orjson.loads(line[6:]) for line in b"".join(kept).split(b"\n") if line]
    for number, name in places:
        assert secret not in events[number][name]
        assert events[number][name].startswith("by *~")
    assert all(event["choices"] == [{"index": 0, "delta": {field: " sea"}}] for event in events)
    assert b"".join(kept) == b"".join(redacted_chunks([stream], secret=secret, often=False))


@pytest.mark.parametrize("secret", [KEY, ODD, SHAPE])
@pytest.mark.parametrize("step", [5, 200])
@pytest.mark.parametrize("choices", [1, 2])
def test_a_secret_is_masked_where_the_answer_breaks_off(secret: str, step: int, choices: int) -> None:
    """At any byte behind it, also within an event, whose strings then have no end."""
    text = f"it is {secret} so"
    deltas = [text[at : at + step] for at in range(0, len(text), step)]
    stream = b"".join(event(delta, choice=n) for delta in deltas for n in range(choices))
    for stop in range(stream.rindex(b" so") + 3, len(stream)):
        kept = b"".join(redacted_chunks([stream[:stop]], secret=secret, often=False))
        said = re.findall(rb'"index":0,"delta":{"content":"((?:[^"\\]|\\.)*)', kept)
        assert b"".join(said).startswith(b"it is *~")
        assert not any(part.encode() in kept for part in (secret[:8], secret[-8:], orjson.dumps(secret).decode()[1:9]))


@given(st.binary(max_size=300), CUTS, st.sampled_from([SSE, JSON, TEXT]), st.booleans())
def test_any_bytes_pass(data: bytes, cuts: list[int], headers: Headers, often: bool) -> None:
    """Nothing raises, sizes and times stay, and what is done is done."""
    chunks = pieces(data, cuts)
    kept = redacted_chunks(chunks, headers=headers, often=often)
    assert [len(chunk) for chunk in kept] == [len(chunk) for chunk in chunks]
    assert redacted_chunks(kept, headers=headers, often=often) == kept


WORDS = st.sampled_from(
    [b"the sea", b" sk", b"-", KEY.encode(), SHAPE.encode(), b'"', b"\\", b"\\u0073", b"\n\n", b"data: "]
)


@given(st.lists(WORDS, max_size=30), CUTS, st.sampled_from([SSE, JSON, TEXT]))
def test_masking_again_changes_nothing(words: list[bytes], cuts: list[int], headers: Headers) -> None:
    """Also with what looks nearly like a secret on all sides."""
    chunks = pieces(b"".join(words), cuts)
    kept = redacted_chunks(chunks, headers=headers, often=False)
    assert KEY.encode() not in b"".join(kept)
    assert redacted_chunks(kept, headers=headers, often=False) == kept


PEM = "-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\\n-----END PRIVATE KEY-----"
KEY_PATTERNS = st.sampled_from(
    ["the sea", " sk", "-", " ", "\n", KEY, SHAPE, PEM, "ghp_" + "a1" * 18, "?sig=" + "a1" * 12, "http://u:pass-w@h"]
)


@given(st.lists(KEY_PATTERNS, max_size=12), CUTS, st.integers(1, 9), st.sampled_from([SSE, JSON, TEXT]))
def test_what_was_decided_as_it_came_is_as_if_it_had_been_seen_whole(
    words: list[str], cuts: list[int], step: int, headers: Headers
) -> None:
    """Nothing is let go of too early, whatever stands next to whatever."""
    text = "".join(words)
    data = text.encode()
    if headers == SSE:
        data = b"".join(event(text[at : at + step]) for at in range(0, len(text), step))
    kept = b"".join(redacted_chunks(pieces(data, cuts), headers=headers))
    assert redacted_chunks([kept], headers=headers, often=False) == [kept]


APART = st.lists(st.tuples(KEY_PATTERNS, st.sampled_from([" ", "\n", '"', "ü", "\\", ": "])), max_size=8)


@given(APART, PLACES, CUTS, st.integers(1, 60), st.sampled_from([SSE, JSON, TEXT]), st.booleans())
def test_what_is_decided_as_it_comes_has_the_same_masks(
    words: list[tuple[str, str]],
    places: list[tuple[int, str]],
    cuts: list[int],
    step: int,
    headers: Headers,
    escape: bool,
) -> None:
    """Of words that stand apart, in what is said and beside it, and however it is cut: no part of a secret is left."""
    text = "".join(word + mark for word, mark in words)
    body = json.dumps({"text": text, "more": [SHAPE, KEY]}, ensure_ascii=escape).encode()
    data = body if headers == JSON else text.encode()
    if headers == SSE:
        lines = [event(text[at : at + step], escape=escape) for at in range(0, len(text), step)]
        beside = {at % len(lines): name for at, name in places} if lines else {}
        for at, name in beside.items():
            lines[at] = lines[at].replace(b'{"choices"', b'{"%b":"%b","choices"' % (name.encode(), SHAPE.encode()))
        data = b"".join(lines)
    whole = redacted_chunks([data], headers=headers, often=False)
    assert b"".join(redacted_chunks(pieces(data, cuts), headers=headers)) == whole[0]
    assert not any(part in whole[0] for part in (KEY.encode(), SHAPE.encode(), b"ghp_a1", b"sig=a1", b"pass-w"))


def test_not_every_place_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each of a thousand lines may begin a key, they are held after a dozen looks, and masked in the end."""
    looks = 0
    rounds = StreamRedactor._rounds

    def counted(stream_redactor: StreamRedactor, data: bytes) -> Iterator[bytes]:
        nonlocal looks
        looks += 1
        return rounds(stream_redactor, data)

    monkeypatch.setattr(StreamRedactor, "_rounds", counted)
    stream = [event(" sk-"), *[event(" -")] * 1000, event(f" {SHAPE} ")]
    stream_redactor = Redactor(SALT).stream_redactor(credentials_for(KEY))
    head = stream_redactor.head(Head(0, 200, SSE))
    stream_redactor.feed(Chunks.of([Chunk(0, data) for data in stream[:-1]]))
    assert not stream_redactor.decide()
    assert 3 < looks < 20
    stream_redactor.feed(Chunks.of([Chunk(0, stream[-1])]))
    _, chunks = stream_redactor.finish(head)
    assert chunks.data()[:-1] == stream[:-1]
    assert SHAPE.encode() not in chunks.body


def test_words_are_kept_counts_at_once() -> None:
    """Nothing is held back that cannot become a secret, so that a crash costs nothing more than before."""
    stream_redactor = Redactor(SALT).stream_redactor(credentials_for(KEY))
    stream_redactor.head(Head(0, 200, SSE))
    for word in ("The", " sea", " and", " the", " sky", "."):
        stream_redactor.feed(Chunks.of([Chunk(0, event(word))]))
        assert len(stream_redactor.decide()) == 1


def test_the_beginning_of_a_secret_is_held_until_it_is_decided() -> None:
    """And no byte of it is let go before; if it was none, it goes as it came."""
    stream_redactor = Redactor(SALT).stream_redactor(credentials_for(KEY))
    stream_redactor.head(Head(0, 200, SSE))
    kept_counts = []
    for at in range(0, len(KEY), 3):
        stream_redactor.feed(Chunks.of([Chunk(0, event(KEY[at : at + 3]))]))
        kept_counts.append(len(stream_redactor.decide()))
    assert kept_counts == [0] * (len(kept_counts) - 1) + [len(kept_counts)]
    begun = [event(KEY[:6]), event(" no")]
    assert redacted_chunks(begun) == begun


def test_an_answer_that_breaks_off_within_a_credential() -> None:
    """What there is of it is masked."""
    body = b"it is " + KEY.encode()[:-1]
    assert redacted_chunks([body], headers=TEXT) == [b"it is " + b"*~redacted~*".ljust(len(KEY) - 1, b"*")]


def test_the_tokens_of_log_probabilities_say_it_too() -> None:
    """Where the text is masked, so are they; elsewhere they stay."""

    def with_logprobs(text: str) -> bytes:
        token = {"token": text, "logprob": -0.5, "bytes": list(text.encode()), "top_logprobs": [{"token": text}]}
        value = {"choices": [{"index": 0, "delta": {"content": text}, "logprobs": {"content": [token]}}]}
        return b"data: " + orjson.dumps(value) + b"\n\n"

    words = ["so ", *(KEY[at : at + 3] for at in range(0, len(KEY), 3)), " it is"]
    chunks = [with_logprobs(word) for word in words]
    kept = redacted_chunks(chunks)
    assert [len(chunk) for chunk in kept] == [len(chunk) for chunk in chunks]
    assert (kept[0], kept[-1]) == (chunks[0], chunks[-1])
    for data in kept[1:-1]:
        (choice,) = orjson.loads(data[6:])["choices"]
        (token,) = choice["logprobs"]["content"]
        said = [token["token"], token["top_logprobs"][0]["token"]]
        assert all(set(text) == {"*"} for text in said)
        assert set(token["bytes"]) <= {1, 11, 111}


def test_the_tokens_of_a_whole_answer_say_it_too() -> None:
    """And their numbers."""
    logprobs = {"content": [{"token": KEY[:5], "bytes": [115, 51]}, {"token": KEY[5:], "bytes": [1]}]}
    body = {"choices": [{"message": {"content": KEY}, "logprobs": logprobs, "token_ids": [17, 4711]}]}
    (kept,) = redacted_chunks([orjson.dumps(body)], headers=JSON)
    (choice,) = orjson.loads(kept)["choices"]
    assert [token["token"] for token in choice["logprobs"]["content"]] == ["*" * 5, "*" * (len(KEY) - 5)]
    assert [token["bytes"] for token in choice["logprobs"]["content"]] == [[111, 11], [1]]
    assert choice["token_ids"] == [11, 1111]


OTHER_STREAMS = {
    "Gemini's list": (JSON, "[", '{{"candidates": [{{"content": {{"parts": [{{"text": {}}}]}}}}]}}\n,\n', "]"),
    "Ollama's lines": ((("content-type", "application/x-ndjson"),), "", '{{"response":{}}}\n', ""),
    "Anthropic's events": (
        SSE,
        "",
        'event: content_block_delta\ndata: {{"type":"content_block_delta","index":1,"delta":{{"text":{}}}}}\n\n',
        "",
    ),
    "Responses' events": (
        SSE,
        "",
        'data: {{"type":"response.output_text.delta","content_index":0,"delta":{},"output_index":1}}\n\n',
        "",
    ),
    "events that do not say so": (TEXT, "", 'data: {{"choices":[{{"text":{}}}]}}\n\n', ""),
}


@pytest.mark.parametrize("often", [True, False])
@pytest.mark.parametrize(("headers", "first", "each", "last"), OTHER_STREAMS.values(), ids=OTHER_STREAMS)
def test_other_dialects_spread_a_secret_too(headers: Headers, first: str, each: str, last: str, often: bool) -> None:
    """Whatever the field is called that the text comes in."""
    text = f"it is {KEY} so"
    chunks = [each.format(orjson.dumps(text[at : at + 4]).decode()).encode() for at in range(0, len(text), 4)]
    chunks = [first.encode() + chunks[0], *chunks[1:], last.encode()] if last else chunks
    kept = b"".join(redacted_chunks(chunks, headers=headers, often=often))
    assert len(kept) == len(b"".join(chunks))
    pieces_said = re.findall(rb'"(?:text|response|delta)": ?"([^"]*)"', kept)
    assert b"".join(pieces_said) == b"it is " + b"*~redacted~*".ljust(len(KEY), b"*") + b" so"


def test_a_secret_in_a_coded_answer() -> None:
    """Nothing can be masked within gzip: it is kept as it reads. Without one it is kept as it came."""
    fields: Headers = (*JSON, ("content-encoding", "gzip"), ("content-length", "99"))
    for body, coded in ((orjson.dumps({"echo": KEY}), False), (b'{"echo":"hello"}', True)):
        data = gzip.compress(body)
        stream_redactor = Redactor(SALT).stream_redactor(credentials_for(KEY))
        head: Head | None = stream_redactor.head(Head(0, 200, fields))
        for at, byte in enumerate(data):
            stream_redactor.feed(Chunks.of([Chunk(at, bytes((byte,)))]))
            assert not stream_redactor.decide()
        head, chunks = stream_redactor.finish(head)
        assert head is not None
        said = b"".join(chunk.data for chunk in chunks)
        assert [chunk.at for chunk in chunks] == list(range(len(data)))
        if coded:
            assert (said, head.headers) == (data, fields)
        else:
            assert len(said) == len(body)
            assert KEY.encode() not in said
            assert head.headers == (*JSON, ("content-length", str(len(body))))


def test_a_cookie_that_the_answer_sets_is_masked_in_it() -> None:
    """Its value lets the next request in."""
    body = b'{"session":"s3ssion-value"}'
    kept = redacted_chunks([body], headers=(*JSON, ("Set-Cookie", "id=s3ssion-value; Path=/")))
    assert b"s3ssion-value" not in kept[0]


RULES = [
    ("re:cust-[0-9]{4}", "for cust-1234 and cust-5678", r"for \*~[0-9a-f]{5}~\* and \*~[0-9a-f]{5}~\*"),
    ("re:[0-9]{4}", "pin 1234", r"pin \*{4}"),
    ("re:^secret.*", "secret: all of it", r"\*~[0-9a-f]{13}~\*"),
    ("$.choices[*].delta.content", "anything here", r"\*+|\*~[0-9a-f]+~\*+"),
]


@pytest.mark.parametrize(("rule", "text", "expected"), RULES)
def test_rules_hold_for_what_events_say(rule: str, text: str, expected: str) -> None:
    """Within one event, and for patterns over several, whose end is waited for."""
    whole = redacted_chunks([event(text)], rules=[rule])
    assert re.fullmatch(f"(?:{expected})", said_in(b"".join(whole))[0, "content"])
    if rule.startswith("re:"):
        spread = redacted_chunks([event(text[at : at + 2]) for at in range(0, len(text), 2)], rules=[rule])
        assert re.fullmatch(f"(?:{expected})", said_in(b"".join(spread))[0, "content"])


def test_a_whole_answer_is_masked_like_one_that_comes() -> None:
    """A leg of a pair, and an exchange that is rewritten."""
    chunks = [event(KEY[at : at + 3]) for at in range(0, len(KEY), 3)]
    response = Response.of(
        Head(5, 200, SSE), [Chunk(at + 9, data) for at, data in enumerate(chunks)], End(99, Ending.COMPLETE)
    )
    masked, traces = Redactor(SALT).response_with_traces(response, credentials_for(KEY))
    assert masked.timeline == response.timeline
    assert masked.cuts == response.cuts
    assert list(accumulate(masked.cuts))[-1] == len(masked.body)
    assert said_in(masked.body) == {(0, "content"): "*~redacted~*".ljust(len(KEY), "*")}
    assert [(trace.at, trace.kind) for trace in traces] == [
        (chunks[0].index(KEY[:3].encode()), "credential of the request")
    ]
