"""Which requests are the same: a table of pairs, one row a sentence of the rules."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.core.identity.rules import DEFAULT_IGNORE, Matcher, MatchRules
from replayproxy.errors import SettingsError
from replayproxy.model import Headers, Request

DEFAULT = Matcher(MatchRules())
EXACT = Matcher(MatchRules(profile="exact"))

CHAT: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why is the sea salt?"}],
    "temperature": 0.7,
    "max_tokens": 16,
    "stream": True,
    "stream_options": {"include_usage": True},
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
}


def post(body: bytes, target: str = "/v1/chat/completions", media: str = "application/json") -> Request:
    """A request with a body."""
    return Request("POST", target, (("Content-Type", media),), body)


def chat(**changes: Any) -> Request:
    """CHAT with changes; `...` takes a field out."""
    return post(json.dumps({name: value for name, value in (CHAT | changes).items() if value is not ...}).encode())


def form(boundary: str, *parts: tuple[str, bytes], quoted: bool = False, end: bytes = b"\r\n") -> Request:
    """An upload. Each part is its fields and its content."""
    mark = boundary.encode()
    body = b"".join(
        b"--%b\r\n%b\r\n\r\n%b\r\n" % (mark, fields.encode("latin-1"), content) for fields, content in parts
    )
    media = f'multipart/form-data; boundary="{boundary}"' if quoted else f"multipart/form-data; boundary={boundary}"
    return post(body + b"--" + mark + b"--" + end, "/v1/audio/transcriptions", media)


def picture(url: str) -> dict[str, Any]:
    """A message that shows one."""
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}


NAME = 'Content-Disposition: form-data; name="model"'
FILE = 'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav'
WAVE = b"RIFF\x00\xff\r\n--\n\r\x80\r\n\r\n"

SAME: dict[str, tuple[Request, Request]] = {
    "order of keys": (chat(), post(json.dumps(dict(reversed(CHAT.items()))).encode())),
    "white space": (chat(), post(json.dumps(CHAT, indent=2).encode())),
    "escapes": (post('{"prompt":"é"}'.encode()), post(b'{"prompt":"\\u00e9"}')),
    "spelling of numbers": (chat(temperature=1), chat(temperature=1.0)),
    "numbers beside long ones": (
        post(b'{"seed":12345678901234567,"n":1}'),
        post(b'{"n":1.0,"seed":12345678901234567}'),
    ),
    "headers are out": (chat(), Request("POST", "/v1/chat/completions", (("Authorization", "Bearer x"),), chat().body)),
    "order of the query": (Request("GET", "/v1/x?a=1&b=2"), Request("GET", "/v1/x?b=2&a=1")),
    "coding of the query": (Request("GET", "/v1/x?a=%62+c"), Request("GET", "/v1/x?a=b%20c")),
    "raw and coded query": (Request("GET", "/v1/x?a=\xe9"), Request("GET", "/v1/x?a=%E9")),
    "an empty query": (Request("GET", "/v1/x?"), Request("GET", "/v1/x")),
    "the boundary": (form("one", (NAME, b"m"), (FILE, WAVE)), form("two-2", (NAME, b"m"), (FILE, WAVE))),
    "a quoted boundary": (form("a b", (NAME, b"m"), quoted=True), form("ab", (NAME, b"m"))),
    "what follows the last boundary": (form("one", (NAME, b"m")), form("one", (NAME, b"m"), end=b"\r\nbye")),
    "order and case of a part's fields": (
        form("b", (FILE, b"x")),
        form("b", ('content-type: audio/wav\r\nCONTENT-DISPOSITION:form-data; name="file"; filename="a.wav"', b"x")),
    ),
    "a body that is no JSON, to itself": (post(b"\x00\xff{"), post(b"\x00\xff{")),
    **{f"ignored: {path}": (chat(), chat(**{path.removeprefix("$."): {"a": 1}})) for path in DEFAULT_IGNORE},
    "ignored: null too": (chat(), chat(user=None)),
}

DIFFERENT: dict[str, tuple[Request, Request]] = {
    "method": (Request("GET", "/v1/x"), Request("DELETE", "/v1/x")),
    "path": (chat(), post(chat().body, "/v1/completions")),
    "path, in case": (Request("GET", "/v1/models"), Request("GET", "/v1/Models")),
    "path, in coding": (Request("GET", "/v1/models/a%2Fb"), Request("GET", "/v1/models/a/b")),
    "query": (Request("GET", "/v1/x?a=1"), Request("GET", "/v1/x?a=2")),
    "query, blank or absent": (Request("GET", "/v1/x?a="), Request("GET", "/v1/x")),
    "query, once or twice": (Request("GET", "/v1/x?a=1"), Request("GET", "/v1/x?a=1&a=1")),
    "query, not UTF-8": (Request("GET", "/v1/x?a=%ff"), Request("GET", "/v1/x?a=%fe")),
    "model": (chat(), chat(model="n")),
    "messages": (chat(), chat(messages=CHAT["messages"][1:])),
    "order of the messages": (chat(), chat(messages=CHAT["messages"][::-1])),
    "system prompt": (chat(), chat(messages=[{"role": "system", "content": "Be brief"}, CHAT["messages"][1]])),
    "an earlier turn": (
        chat(messages=[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}, *CHAT["messages"]]),
        chat(messages=[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hm"}, *CHAT["messages"]]),
    ),
    "an image's address": (chat(messages=[picture("https://a/1.png")]), chat(messages=[picture("https://a/2.png")])),
    "composed and decomposed letters": (post('{"prompt":"\u00e9"}'.encode()), post('{"prompt":"e\u0301"}'.encode())),
    "prompt": (post(b'{"prompt":"a"}'), post(b'{"prompt":"b"}')),
    "prompt in tokens": (post(b'{"prompt":[1,2]}'), post(b'{"prompt":[1,3]}')),
    "temperature": (chat(), chat(temperature=0.8)),
    "top_p": (chat(), chat(top_p=0.9)),
    "seed": (chat(seed=1), chat(seed=2)),
    "a large seed": (chat(seed=2**63), chat(seed=2**63 + 1)),
    "a very large seed": (chat(seed=2**64), chat(seed=2**64 + 1)),
    "max_tokens": (chat(), chat(max_tokens=17)),
    "stop": (chat(), chat(stop=["\n"])),
    "tools": (chat(), chat(tools=[])),
    "a tool's parameter": (chat(), chat(tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}])),
    "stream": (chat(), chat(stream=False)),
    "stream, absent": (chat(), chat(stream=...)),
    "stream_options": (chat(), chat(stream_options=...)),
    "n": (chat(), chat(n=2)),
    "logprobs": (chat(), chat(logprobs=True)),
    "absent and null": (chat(), chat(stop=None)),
    "true and 1": (chat(logprobs=True), chat(logprobs=1)),
    "a vendor's field": (chat(), chat(chat_template_kwargs={"enable_thinking": False})),
    "ignored at the top only": (chat(), chat(tools=[CHAT["tools"][0] | {"user": "x"}])),
    "no body and an empty object": (post(b""), post(b"{}")),
    "no body and null": (post(b""), post(b"null")),
    "bytes": (post(b"\x00a"), post(b"\x00b")),
    "white space where there is no JSON": (post(b"{a"), post(b"{ a")),
    "a part's content": (form("b", (FILE, b"x")), form("b", (FILE, b"y"))),
    "a part's CR LF": (form("b", (FILE, b"1\r\n2")), form("b", (FILE, b"1\n2"))),
    "a part's CR": (form("b", (FILE, b"1\r2")), form("b", (FILE, b"1\n2"))),
    "a part's last line end": (form("b", (FILE, b"1\r\n")), form("b", (FILE, b"1"))),
    "a part's last byte": (form("b", (FILE, b"1\r")), form("b", (FILE, b"1"))),
    "a part's name": (form("b", (NAME, b"x")), form("b", (NAME.replace("model", "prompt"), b"x"))),
    "a file's name, not UTF-8": (
        form("b", (FILE.replace("a.wav", "\xe9"), b"x")),
        form("b", (FILE.replace("a.wav", "\xe8"), b"x")),
    ),
    "order of the parts": (form("b", (NAME, b"1"), (FILE, b"2")), form("b", (FILE, b"2"), (NAME, b"1"))),
    "one part or two": (form("b", (NAME, b"1")), form("b", (NAME, b"1"), (NAME, b"1"))),
}


@pytest.mark.parametrize("pair", SAME.values(), ids=SAME.keys())
def test_the_same(pair: tuple[Request, Request]) -> None:
    """What does not shape the answer makes no difference."""
    assert DEFAULT.form(pair[0]) == DEFAULT.form(pair[1])
    assert DEFAULT.key(pair[0]) == DEFAULT.key(pair[1])


@pytest.mark.parametrize("pair", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_different(pair: tuple[Request, Request]) -> None:
    """What may shape the answer is a miss, never somebody else's answer."""
    assert DEFAULT.form(pair[0]) != DEFAULT.form(pair[1])
    assert DEFAULT.key(pair[0]) != DEFAULT.key(pair[1])


@pytest.mark.parametrize("path", DEFAULT_IGNORE)
def test_exact_ignores_nothing(path: str) -> None:
    """The profile `exact` compares all of a body, as a value."""
    assert EXACT.key(chat()) != EXACT.key(chat(**{path.removeprefix("$."): "x"}))
    assert EXACT.key(chat()) == EXACT.key(post(json.dumps(CHAT, indent=1).encode()))


IGNORED: list[tuple[str, dict[str, Any], bool]] = [
    ("$.temperature", {"temperature": 0.1}, True),
    ("$.temperature", {"max_tokens": 1}, False),
    ("$.messages[0]", {"messages": [{"role": "system", "content": "Other."}, CHAT["messages"][1]]}, True),
    ("$.messages[0]", {"messages": [CHAT["messages"][0], {"role": "user", "content": "Other."}]}, False),
    ("$.messages[0]", {"messages": CHAT["messages"][1:]}, False),
    (
        "$.messages[?@.role == 'user'].content",
        {"messages": [CHAT["messages"][0], {"role": "user", "content": "x"}]},
        True,
    ),
    ("$.messages[?@.role == 'system']", {"messages": CHAT["messages"][::-1]}, False),
    ("$..description", {"tools": [CHAT["tools"][0] | {"description": "new"}]}, True),
    ("$['stream_options']['include_usage']", {"stream_options": {"include_usage": False}}, True),
    ("$['stream_options']['include_usage']", {"stream_options": {"include_usage": True, "x": 1}}, False),
    ("$.nothing.here", {}, True),
]


@pytest.mark.parametrize(("path", "changes", "same"), IGNORED)
def test_more_can_be_ignored(path: str, changes: dict[str, Any], same: bool) -> None:
    """By JSONPath (RFC 9535), on top of the defaults; in a list the other items keep their places."""
    matcher = Matcher(MatchRules(ignore=(path,)))
    assert (matcher.key(chat()) == matcher.key(chat(**changes))) is same
    assert matcher.key(chat()) == matcher.key(chat(user="x"))


ODD_BODIES: dict[str, bytes] = {
    "a string that looks like the start of a list": b'"[x"',
    "a string that is a document": b'"{\\"user\\":1}"',
    "a number": b"3",
    "null": b"null",
    "a list": b'[{"user":1}]',
    "deep": b"[" * 64 + b"]" * 64,
    "too deep": b"[" * 5000 + b"]" * 5000,
    "never closed": b"[" * 100_000,
    "an infinite number": b"[1e999]",
    "a surrogate": b'"\\ud800"',
    "a huge number": b"1" * 5000,
}


@pytest.mark.parametrize("body", ODD_BODIES.values(), ids=ODD_BODIES.keys())
def test_any_body_has_a_form(body: bytes) -> None:
    """Whatever comes in, keying does not fail: what cannot be read as JSON is compared as bytes."""
    matcher = Matcher(MatchRules(ignore=("$..user", "$[*].a", "$.a.b")))
    assert matcher.form(post(body)) == matcher.form(post(body))
    assert matcher.form(post(body)) != matcher.form(post(body + b"x"))


ODD_UPLOADS: dict[str, tuple[str, bytes]] = {
    "no boundary": ("multipart/form-data", b"--b\r\n\r\nx\r\n--b--"),
    "an empty boundary": ("multipart/form-data; boundary=", b"--\r\n\r\nx\r\n----"),
    "never closed": ("multipart/form-data; boundary=b", b"--b\r\n\r\nx"),
    "no blank line": ("multipart/form-data; boundary=b", b"--b\r\nx\r\n--b--"),
    "line feeds only": ("multipart/form-data; boundary=b", b"--b\nA: b\n\nx\n--b--"),
    "no field name": ("multipart/form-data; boundary=b", b"--b\r\nx\r\n\r\nx\r\n--b--"),
    "folded fields": ("multipart/form-data; boundary=b", b"--b\r\nA: b\r\n c: d\r\n\r\nx\r\n--b--"),
    "a boundary that begins another": (
        "multipart/form-data; boundary=b",
        b"--b\r\nA: b\r\n\r\nx\r\n--bc\r\nA: b\r\n\r\ny\r\n--b--",
    ),
    "not even latin-1": ("multipart/form-data; boundary*=utf-8''%E4%BD%A0", b"--b--"),
    "empty": ("multipart/form-data; boundary=b", b"-"),
}


@pytest.mark.parametrize(("media", "body"), ODD_UPLOADS.values(), ids=ODD_UPLOADS.keys())
def test_an_odd_upload_is_compared_as_bytes(media: str, body: bytes) -> None:
    """No guess at what a broken multipart body may mean."""
    assert DEFAULT.form(post(body, media=media)).split(b"\n", 4)[3:] == [b"bytes", body]


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_an_uploaded_file_is_compared_byte_for_byte(one: bytes, other: bytes) -> None:
    """At any content, whatever the boundary."""
    first, second = form("2f1c7e", (FILE, one)), form("98ab04", (FILE, other))
    assert (DEFAULT.key(first) == DEFAULT.key(second)) is (one == other)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_bodies_that_are_not_json_are_the_same_only_if_their_bytes_are(one: bytes, other: bytes) -> None:
    """The leading NUL keeps hypothesis from writing JSON."""
    assert (DEFAULT.key(post(b"\x00" + one)) == DEFAULT.key(post(b"\x00" + other))) is (one == other)


def test_keying_leaves_the_request_alone() -> None:
    """The body that goes upstream is the client's."""
    request = chat(user="me")
    before = request.body
    DEFAULT.key(request)
    assert request.body is before


@pytest.mark.parametrize(
    "rules",
    [
        MatchRules(profile="strict"),
        MatchRules(ignore=("$.[",)),
        MatchRules(ignore=("user",)),
        MatchRules(ignore=("",)),
        MatchRules(ignore=("$.a[",)),
    ],
)
def test_rules_without_sense_are_refused_at_once(rules: MatchRules) -> None:
    """With the offender in the message, before any request comes."""
    with pytest.raises(SettingsError, match=r"strict|\$\.\[|user|''|\$\.a\["):
        Matcher(rules)


def test_keys_stay_what_they_are() -> None:
    """Golden: these stand on cassettes. If this fails, every cassette misses: change KEY_TAG and migrate, or undo."""
    fields: Headers = (("content-type", "application/json"),)
    golden = Request(
        "POST", "/v1/chat/completions?b=2&a=1", fields, b'{"stream": true, "model": "m", "user": "x", "n": 1.0}'
    )
    assert DEFAULT.form(golden) == (
        b'POST\n/v1/chat/completions\n[["a","1"],["b","2"]]\njson\n{"model":"m","n":1,"stream":true}'
    )
    assert DEFAULT.form(form("x", (NAME, b"a\xff"))).split(b"\n")[3:] == [
        b"multipart",
        '[["content-disposition: form-data; name=\\"model\\"","aÿ"]]'.encode(),
    ]


NORMALISED: dict[str, tuple[tuple[str, ...], Request, Request]] = {
    "a date": (("date",), chat(user_said="on 2026-11-17"), chat(user_said="on 2026-11-20")),
    "a date in a tool's arguments": (
        ("date",),
        chat(messages=[{"tool_calls": [{"function": {"arguments": '{"day":"2026-11-17"}'}}]}]),
        chat(messages=[{"tool_calls": [{"function": {"arguments": '{"day":"2026-11-20"}'}}]}]),
    ),
    "a uuid in the query": (
        ("uuid",),
        Request("GET", "/v1/x?a=00000000-0000-4000-8000-000000000001"),
        Request("GET", "/v1/x?a=00000000-0000-4000-8000-000000000002"),
    ),
    "a uuid in the path": (
        ("uuid",),
        Request("GET", "/v1/files/00000000-0000-4000-8000-000000000001"),
        Request("GET", "/v1/files/00000000-0000-4000-8000-000000000002"),
    ),
    "a pattern of one's own": (("build=build-\\d+",), chat(stop="build-7"), chat(stop="build-12")),
    "a part of an upload": (("date",), form("b", (NAME, b"2026-11-17")), form("b", (NAME, b"2026-11-20"))),
}


@pytest.mark.parametrize("row", NORMALISED.values(), ids=NORMALISED.keys())
def test_normalised(row: tuple[tuple[str, ...], Request, Request]) -> None:
    """The same with the normaliser, different without."""
    names, one, other = row
    matcher = Matcher(MatchRules(normalise=names))
    assert matcher.key(one) == matcher.key(other)
    assert DEFAULT.key(one) != DEFAULT.key(other)


def test_ids_that_are_counted_keep_who_is_who() -> None:
    """Two calls answered in the other order are another conversation, whatever their ids."""
    matcher = Matcher(MatchRules(normalise=("tool-call-id",)))

    def turns(first: str, second: str, answered: str) -> Request:
        calls = [{"id": first}, {"id": second}]
        return chat(messages=[{"tool_calls": calls}, {"role": "tool", "tool_call_id": answered, "content": "42"}])

    one = turns("call_aaaaaaaa", "call_bbbbbbbb", "call_bbbbbbbb")
    assert matcher.key(one) == matcher.key(turns("call_cccccccc", "call_dddddddd", "call_dddddddd"))
    assert matcher.key(one) != matcher.key(turns("call_cccccccc", "call_dddddddd", "call_cccccccc"))


def test_a_header_is_compared_when_asked_for() -> None:
    """By its name in any case, and its value; others stay out."""
    matcher = Matcher(MatchRules(headers=("X-Tenant",)))
    one, same, other = (
        Request("GET", "/v1/x", lines)
        for lines in (
            (("x-tenant", "a"), ("accept", "*/*")),
            (("X-TENANT", " a "),),
            (("X-Tenant", "b"),),
        )
    )
    assert matcher.key(one) == matcher.key(same)
    assert len({matcher.key(one), matcher.key(other), matcher.key(Request("GET", "/v1/x"))}) == 3


@pytest.mark.parametrize("name", ["Authorization", "x-api-key", "Cookie", "X-Amz-Security-Token"])
def test_a_header_that_may_hold_a_secret_is_never_compared(name: str) -> None:
    """What is compared is stored."""
    with pytest.raises(SettingsError, match=name.lower()):
        Matcher(MatchRules(headers=(name,)))


RULES = [
    MatchRules(),
    MatchRules("exact", ("$.a",), ("date", "x=y"), ("X-Tenant",)),
]


@pytest.mark.parametrize("rules", RULES)
def test_rules_come_back_from_a_cassette(rules: MatchRules) -> None:
    """All of them."""
    assert MatchRules.of(json.loads(json.dumps(rules.document()))) == rules


STRANGE: list[Any] = [
    None,
    [],
    {},
    {"profile": "default", "ignore": [], "tag": "rp2"},
    {"profile": "fuzzy", "ignore": [], "tag": "rp1"},
    {"profile": "default", "ignore": [1], "tag": "rp1"},
    {"profile": "default", "ignore": "$.a", "tag": "rp1"},
    {"profile": "default", "ignore": [], "tag": "rp1", "fold": ["case"]},
]


@pytest.mark.parametrize("document", STRANGE)
def test_rules_that_are_none_are_refused(document: Any) -> None:
    """A rule that is not understood is not left out: keys would differ silently."""
    with pytest.raises(ValueError, match=r"rules|profile"):
        MatchRules.of(document)


# The query


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("loc=1&loc=2&loc=1", "loc=2&loc=1&loc=1", False),
        ("loc=1&loc=2", "loc=2&loc=1", False),
        ("a=1&loc=1&loc=2", "loc=1&a=1&loc=2", True),
        ("a=1&b=2", "b=2&a=1", True),
        ("loc=1&loc=1", "loc=1", False),
        ("loc=%31&loc=2", "loc=1&loc=2", True),
        ("loc=&loc=1", "loc=1&loc=", False),
    ],
)
def test_values_of_one_name_keep_their_order(one: str, other: str, same: bool) -> None:
    """Names are sorted: their order means nothing to a server."""
    matcher = Matcher(MatchRules())
    keys = {matcher.key(Request("GET", f"/v1/models?{query}")) for query in (one, other)}
    assert (len(keys) == 1) is same
