"""What is split at all, how a prefill is cut, and that nothing else of a request changes on its way."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.core.pd import PROTOCOLS, ProtocolOptions, opened, protocol, splits
from replayproxy.core.pd.endpoints import one_token, prompts_in
from replayproxy.core.pd.protocol import (
    admit,
    json_of,
    one_token_of,
    with_body,
    with_more,
    with_request_id,
    without_hand_over,
)
from replayproxy.errors import ClientError
from replayproxy.model import Request, Response, Timeline
from tests.core.pd.split_requests import CHAT, CUTS, MESSAGES, RESPONSES, TEXT, TURN, Body, split_request

SPLIT: list[tuple[str, Request, bool]] = [
    ("a chat", Request("POST", CHAT, (), b'{"a":1}'), True),
    ("a completion", Request("POST", TEXT, (), b'{"a":1}'), True),
    ("responses", Request("POST", RESPONSES, (), b'{"a":1}'), True),
    ("messages", Request("POST", MESSAGES, (), b'{"a":1}'), True),
    ("with a query", Request("POST", f"{CHAT}?trace=1", (), b'{"a":1}'), True),
    ("in UTF-16", Request("POST", CHAT, (), '{"a":1}'.encode("utf-16")), True),
    ("a GET", Request("GET", CHAT), False),
    ("models", Request("GET", "/v1/models"), False),
    ("tokenize", Request("POST", "/tokenize", (), b'{"prompt":"hi"}'), False),
    ("embeddings", Request("POST", "/v1/embeddings", (), b'{"input":"hi"}'), False),
    ("a path below", Request("POST", f"{CHAT}/render", (), b'{"a":1}'), False),
    ("no body", Request("POST", CHAT), False),
    ("an empty object", Request("POST", CHAT, (), b"{}"), False),
    ("a list", Request("POST", CHAT, (), b"[1]"), False),
    ("cut JSON", Request("POST", CHAT, (), b'{"a":'), False),
    ("no text", Request("POST", CHAT, (), b'{"a":"\xff"}'), False),
    ("too deep", Request("POST", CHAT, (), b'{"a":' + b"[" * 100_000), False),
]


@pytest.mark.parametrize(("request_", "both"), [row[1:] for row in SPLIT], ids=[row[0] for row in SPLIT])
def test_what_generates_is_for_both_servers(request_: Request, both: bool) -> None:
    """POSTs of JSON objects to the four generating endpoints; everything else is for a decode alone."""
    assert splits(request_) is both
    assert (opened(request_) is not None) is both


@pytest.mark.parametrize(("path", "body", "cut"), CUTS.values(), ids=CUTS.keys())
def test_a_prefill_generates_one_token_in_one_piece(path: str, body: Body, cut: Body) -> None:
    """One token by every cap that is there, no stream and none of its options, no more tokens asked for than capped."""
    assert one_token(body, path) == cut


def test_the_clients_body_is_not_touched() -> None:
    """What is cut is a copy."""
    body = {"stream_options": {"include_usage": True}, "stream": True, "max_tokens": 9, "min_tokens": 5}
    before = dict(body)
    one_token(body, CHAT)
    assert body == before


def test_a_hand_over_that_nobody_waits_for_is_cut_as_well() -> None:
    """Its request says what its body says."""
    cut = one_token_of(split_request(CHAT, {"messages": TURN, "stream": True}))
    assert json.loads(cut.request.body) == cut.body == {"messages": TURN, "stream": False, "max_tokens": 1}


NUMBERS = b'{"seed":123456789012345678901234567890,"a":-9223372036854775809,"b":0.1,"c":1e-7,"d":3.0,"e":1E400}'


def test_numbers_survive_in_both_requests() -> None:
    """Integers beyond 64 bits, floats, and what is too large for a float, have the value the client gave them."""
    meant = json.loads(NUMBERS)
    again = json.loads(with_body(Request("POST", CHAT, (), b""), meant).body)
    assert again == meant
    assert [type(value) for value in again.values()] == [int, int, float, float, float, float]
    assert NUMBERS[1:-1] in with_more(split_request(CHAT, NUMBERS), {"more": 1}).body


TEXTS: list[tuple[str, bytes]] = [
    ("Chinese", '{"prompt":"你好"}'.encode()),
    ("escaped", b'{"prompt":"\\u4f60\\n\\/"}'),
    ("half of a surrogate pair", b'{"prompt":"\\ud83d"}'),
    ("a whole one", b'{"prompt":"\\ud83d\\ude00"}'),
    ("control characters", b'{"prompt":"\\u0000\\u001f"}'),
]


@pytest.mark.parametrize("body", [row[1] for row in TEXTS], ids=[row[0] for row in TEXTS])
def test_text_survives_and_is_utf8(body: bytes) -> None:
    """The same characters, in bytes that every server can read."""
    spelled = with_body(Request("POST", TEXT, (), b""), json.loads(body)).body
    assert json.loads(spelled) == json.loads(body)
    spelled.decode("utf-8", "strict")


MORE: list[tuple[str, bytes, bytes]] = [
    ("at its end", b'{"a": 1}', b'{"a": 1,"k":[2]}'),
    ("odd spacing is kept", b'\n{ "a" :1.50 }\n', b'{ "a" :1.50 ,"k":[2]}'),
    ("twice the same key is kept", b'{"a":1,"a":2}', b'{"a":1,"a":2,"k":[2]}'),
    ("instead of the client's own", b'{"k":9,"a":1}', b'{"k":[2],"a":1}'),
    ("in UTF-16, in UTF-8", '{"a":"é"}'.encode("utf-16-le"), '{"a":"é","k":[2]}'.encode()),
    ("behind a byte order mark, without", b'\xef\xbb\xbf{"a":1}', b'{"a":1,"k":[2]}'),
]


@pytest.mark.parametrize(("body", "expected"), [row[1:] for row in MORE], ids=[row[0] for row in MORE])
def test_a_decode_request_is_the_clients_own_bytes_with_more_at_the_end(body: bytes, expected: bytes) -> None:
    """Nothing is parsed and made anew that need not be."""
    assert with_more(split_request(TEXT, body), {"k": [2]}).body == expected


PROMPTS: list[tuple[object, int | None]] = [
    ("hi", None),
    ([1, 2, 3], None),
    ([], None),
    (None, None),
    (["a"], 1),
    (["a", "b"], 2),
    ([[1, 2], [3]], 2),
]


@pytest.mark.parametrize(("prompt", "number"), PROMPTS)
def test_a_list_of_prompts_is_told_from_token_ids(prompt: object, number: int | None) -> None:
    """A list of numbers is one prompt."""
    assert prompts_in({"prompt": prompt}) == number


def test_a_request_id_stands_there_once() -> None:
    """Whatever its spelling, and however often it was there."""
    request = Request("GET", "/", (("x-request-id", "a"), ("A", "1"), ("X-REQUEST-ID", "b")))
    assert with_request_id(request, "c").headers == (("A", "1"), ("X-Request-Id", "c"))


@pytest.mark.parametrize("own", ["___prefill_addr_1.2.3.4:1___decode_addr_5:6_x", "a___decode_addr_5:6"])
def test_an_id_with_addresses_is_refused(own: str) -> None:
    """A connector goes where such an id says; a client must not say it."""
    with pytest.raises(ClientError, match="send another"):
        admit(Request("POST", CHAT, (("x-Request-ID", own),), b"{}"))
    admit(Request("POST", CHAT, (("X-Request-Id", "prefill-addr"),), b"{}"))


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize(("path", "body"), [row[:2] for row in CUTS.values()], ids=CUTS.keys())
def test_what_the_client_asked_can_be_read_from_what_decode_was_asked(name: str, path: str, body: Body) -> None:
    """Without the hand-over a decode request is the client's."""
    ticket = {"remote_block_ids": [[1]]} if name == "nixl" else None
    decode = protocol(name, ProtocolOptions()).decode_request(split_request(path, body), ticket)
    assert json_of(without_hand_over(decode).body) == body


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != "nixl"])
def test_only_nixl_has_a_ticket(name: str) -> None:
    """The others need nothing of the prefill's answer."""
    assert protocol(name, ProtocolOptions()).ticket_from(Response(200, (), b"", (), Timeline(0, (), 0))) is None


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_client_that_sends_no_id_gets_one(name: str) -> None:
    """The same on both legs."""
    pair_protocol = protocol(name, ProtocolOptions())
    split = split_request(CHAT, {"messages": TURN}, headers=(("A", "1"),), request_id="minted")
    legs = pair_protocol.prefill_request(split), pair_protocol.decode_request(split, None)
    ids = {dict(leg.headers)["X-Request-Id"] for leg in legs}
    assert len(ids) == 1
    assert ids == {"minted"} or name == "addr-id"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.sampled_from(PROTOCOLS),
    st.sampled_from([CHAT, TEXT, RESPONSES, MESSAGES]),
    st.dictionaries(st.text(), VALUES, min_size=1),
)
def test_no_value_is_lost(name: str, path: str, body: Body) -> None:
    """Whatever else a client says stands in both requests as it was, at the same target, under one id."""
    pair_protocol = protocol(name, ProtocolOptions())
    split = split_request(path, json.dumps(body).encode())
    ours = {"stream", "stream_options", "max_tokens", "max_output_tokens", "max_completion_tokens", "min_tokens"}
    ours |= {"kv_transfer_params", "bootstrap_host", "bootstrap_port", "bootstrap_room"}
    for leg in (
        pair_protocol.prefill_request(split),
        pair_protocol.decode_request(split, {"a": 1} if name == "nixl" else None),
    ):
        kept = json.loads(leg.body)
        assert {key: kept[key] for key in body if key not in ours} == {
            key: value for key, value in body.items() if key not in ours
        }
        assert (leg.method, leg.target) == ("POST", path)
        assert len([field for field, _ in leg.headers if field.lower() == "x-request-id"]) == 1
