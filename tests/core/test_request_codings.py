"""Content codings of requests: undone once, and then neither compared nor in the way of anything."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import replace

import brotli
import orjson
import pytest
import zstandard

from replayproxy.core import coding
from replayproxy.core.coding_layers import DecodedState
from replayproxy.core.dialects.facts import facts_of
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.identity.sketch import sketch
from replayproxy.core.pd.protocol import json_of, without_hand_over
from replayproxy.core.redaction import Redactor
from replayproxy.model import End, Ending, Headers, Request, Response

PLAIN = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}], "user": "me"})


def raw_deflate(body: bytes) -> bytes:
    """Deflate without a header."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def coded(body: bytes, coding: str | None) -> Request:
    """A chat whose body is in a coding."""
    fields = (("Content-Type", "application/json"), *((("Content-Encoding", coding),) if coding else ()))
    return Request("POST", "/v1/chat/completions", fields, body)


@pytest.mark.parametrize("profile", ["default", "exact"])
def test_the_coding_of_a_request_does_not_count(profile: str) -> None:
    """The same JSON with another mtime, in another coding, in two members, under two codings, plain."""
    same = [
        coded(PLAIN, None),
        coded(PLAIN, "identity"),
        coded(gzip.compress(PLAIN, mtime=1), "gzip"),
        coded(gzip.compress(PLAIN, 1, mtime=2), "GZIP"),
        coded(gzip.compress(PLAIN[:9]) + gzip.compress(PLAIN[9:]), "x-gzip"),
        coded(zlib.compress(PLAIN), "deflate"),
        coded(raw_deflate(PLAIN), "deflate"),
        coded(brotli.compress(PLAIN), "br"),
        coded(zstandard.compress(PLAIN), "zstd"),
        coded(brotli.compress(gzip.compress(PLAIN)), "gzip, br"),
        coded(gzip.compress(b" " + PLAIN), "gzip"),
    ]
    matcher = Matcher(MatchRules(profile))
    assert len({matcher.key(request) for request in same}) == 1
    assert {sketch(matcher.compared(request)) for request in same} == {sketch(matcher.compared(same[0]))}


def test_what_cannot_be_undone_compares_as_bytes() -> None:
    """An unknown coding, one that breaks off, bytes behind the end: each is a request of its own."""
    packed = gzip.compress(PLAIN, mtime=0)
    different = [
        coded(packed, "gzip"),
        coded(packed[:-1], "gzip"),
        coded(packed + b"x", "gzip"),
        coded(packed + b"y", "snappy"),
        coded(packed[:-2], "gzip, gzip"),
        coded(b"text", "br"),
    ]
    matcher = Matcher(MatchRules())
    assert len({matcher.key(request) for request in different}) == len(different)
    assert [matcher.compared(request).kind for request in different] == ["json"] + ["bytes"] * 5


def test_a_coding_is_undone_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For its key, its sketch, its model, and without its secrets, also after other fields were replaced."""
    times = []
    plain = coding.undone

    def counted(fields: Headers, body: bytes) -> tuple[bytes, DecodedState]:
        times.append(1)
        return plain(fields, body)

    monkeypatch.setattr(coding, "undone", counted)
    request = coded(gzip.compress(PLAIN), "gzip")
    matcher = Matcher(MatchRules(), Redactor(b"0123456789abcdef"))
    matcher.key(request)
    sketch(matcher.compared(request))
    matcher.key(replace(request, headers=request.headers[1:]))
    assert facts_of(request, Response.of(None, (), End(0, Ending.COMPLETE))).model == "m"
    assert times == [1]


def test_a_secret_within_a_coding_does_not_count_either() -> None:
    """The key of what is stored is the key of what was asked, whichever coding it came in."""
    body = orjson.dumps({"messages": [{"content": "my key is sk-proj-" + "aB3" * 12}]})
    matcher = Matcher(MatchRules(), redactor := Redactor(b"0123456789abcdef"))
    requests = [coded(body, None), coded(gzip.compress(body), "gzip"), coded(zstandard.compress(body), "zstd")]
    stored = [redactor.request(request) for request in requests]
    assert len({matcher.key(request) for request in requests + stored}) == 1
    assert all(b"sk-proj" not in request.body and len(request.headers) == 1 for request in stored)


def test_a_split_request_goes_on_plain() -> None:
    """What is changed for a leg can only be sent as it reads, and says so."""
    request = coded(gzip.compress(orjson.dumps({"model": "m", "kv_transfer_params": {}})), "gzip")
    leg = without_hand_over(request)
    assert json_of(leg.body) == {"model": "m"}
    assert leg.headers == (("Content-Type", "application/json"),)


def test_a_broken_coding_hides_no_secret() -> None:
    """Neither in the part that can be read nor in bytes that stand as they are."""
    key = b"sk-proj-" + b"aB3" * 12
    redactor = Redactor(b"0123456789abcdef")
    packed = gzip.compress(b'{"m":"' + key + b'"}')
    for body, name in [
        (packed[:-4], "gzip"),
        (packed[:-8] + b"checksum", "gzip"),
        (packed + b"behind", "gzip"),
        (gzip.compress(b"{}") + b" " + key, "gzip"),
        (gzip.compress(b"{}") + gzip.compress(key)[:-3], "gzip"),
        (b"\xff\x00 " + key + b" ", "snappy"),
        (b'{"m":"' + key + b'"}', "gzip"),
        (b'{"m":"' + key + b'"}', "utf-8"),
    ]:
        stored = redactor.request(coded(body, name))
        assert key not in stored.body
        assert key not in coding.undone(stored.headers, stored.body)[0]
        assert redactor.request(stored) == stored
