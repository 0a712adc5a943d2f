"""Tests of `cli/terminal/exchange_page`: `replayproxy show`."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from replayproxy.core.identity.rules import MatchRules
from replayproxy.model import Chunk, Ending, Head, Request
from tests.cli.tapes import (
    JSON,
    MS,
    STREAM,
    Read,
    Watch,
    answer,
    asked,
    chat,
    delta,
    event,
    pair,
    piece,
    writing,
)


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A place for a cassette with one exchange."""
    return tmp_path / "one.cassette"


def shown(read: Read, path: Path, *flags: str) -> list[str]:
    """The page, without its id and key, which are digests, and without sizes on disk."""
    ran = read("show", path, *flags)
    assert ran.code == 0, ran.err
    masks = (
        (r"^[0-9a-f]{8}\b", "ID"),
        (r"rp1:[0-9a-f]{32}", "KEY"),
        (r"   \S+ K?i?B -> \S+ K?i?B on disk$", "   SIZES"),
    )
    lines = ran.out.splitlines()
    for pattern, name in masks:
        lines = [re.sub(pattern, name, line) for line in lines]
    return lines


def test_the_whole_page(read: Read, one: Path) -> None:
    """Who asked what, what came, when; the text."""
    words = ["Hel", "lo\n", "wor", "ld", "!"]
    with writing(one) as keep:
        keep(
            chat("Say hello.", words=words, at=[100, 120, 140, 160, 360], temperature=0, seed=7, tools=[{"type": "f"}])
        )
    assert shown(read, one) == [
        "ID   POST /v1/chat/completions   tiny   200   2026-11-18 11:06:40.000Z",
        "key        KEY   match default, 13 paths ignored   the only answer to this request",
        "request    10 tokens in, 1 message, 1 tool, stream=true, temperature=0, seed=7   SIZES",
        'asked      user: "Say hello."',
        "response   3 tokens out, 6 chunks, finish=stop, usage: yes, [DONE]: yes   SIZES",
        "",
        "timing         0 ms   request complete",
        "             100 ms   head",
        "             100 ms   first chunk",
        "             100 ms   first content: TTFT",
        "             361 ms   last chunk",
        "             361 ms   end",
        "pace       TPOT 130 ms   chunk gap p50 20.0 ms  p95 164 ms  p99 193 ms  max 200 ms before #5",
        "timeline   |..........TTFT..........▄   ▄    ▄    ▄                                               !|",
        "            0                       100 ms                  200 ms                  300 ms   361 ms",
        "            ! 1 chunk came after more than 3 x the median gap",
        "",
        "text",
        "  Hello",
        "  world!",
    ]


def test_a_cut_stream_says_so(read: Read, watch: Watch, one: Path) -> None:
    """In red, and that it does not replay."""
    with writing(one) as keep:
        keep(chat(ending=Ending.UPSTREAM_CUT))
    page = "\n".join(shown(read, one))
    assert "200   upstream_cut   2026" in page
    assert "does not replay, unless with --allow-incomplete" in page
    assert "3 chunks, usage: no, [DONE]: missing" in page
    assert "140 ms   upstream_cut" in page
    assert "\x1b[1;31mupstream_cut" in watch(160, "show", one)[1]


def test_an_answer_that_never_came(read: Read, one: Path) -> None:
    """Has no status, no head and no body."""
    with writing(one) as keep:
        keep(piece(asked("x"), None, [], 2000 * MS, ending=Ending.TIMEOUT))
    page = shown(read, one)
    assert page[0] == "ID   POST /v1/chat/completions   tiny   timeout   2026-11-18 11:06:40.000Z"
    assert page[5:9] == [
        "",
        "timing         0 ms   request complete",
        "             2.00 s   timeout",
        f"timeline   |{'waiting'.center(87, '.')}|",
    ]
    assert page[-1] == "no body"


def test_an_error_shows_its_body(read: Read, one: Path) -> None:
    """Spread out, for it is JSON."""
    with writing(one) as keep:
        keep(answer(asked("x"), b'{"error":{"message":"no such model"}}', status=404))
    assert shown(read, one)[-6:] == [
        "body",
        "  {",
        '    "error": {',
        '      "message": "no such model"',
        "    }",
        "  }",
    ]


def test_a_pair_has_a_lane_for_each_leg(read: Read, one: Path) -> None:
    """On the axis of the client, and a line in a table."""
    with writing(one) as keep:
        keep(pair(chat(words=["a"] * 8)))
    page = shown(read, one)
    assert page[0].endswith("prefill/decode pair")
    lanes = [line for line in page if line.endswith("|")]
    assert [line.split()[0] for line in lanes] == ["timeline", "prefill", "decode"]
    assert {len(line) for line in lanes} == {100}
    assert lanes[1].rstrip("| ").endswith("█")
    start = page.index(
        "LEG      UPSTREAM       REQUEST                    CODE  STARTED     HEAD      END  BYTES  ENDING"
    )
    assert page[start + 1].split()[:2] == ["prefill", "http://p:8000"]
    assert re.split(r" {2,}", page[start + 2])[:6] == [
        "decode",
        "http://d:8000",
        "POST /v1/chat/completions",
        "200",
        "35.0 ms",
        "135 ms",
    ]


def test_several_choices_are_several_texts(read: Read, one: Path) -> None:
    """Not one that is shuffled."""
    chunks = [Chunk(MS * place, delta(word, place % 2)) for place, word in enumerate("aAbBcC")]
    with writing(one) as keep:
        keep(piece(asked("x", n=2), Head(0, 200, STREAM), [*chunks, Chunk(9 * MS, b"data: [DONE]\n\n")], 9 * MS))
    assert shown(read, one)[-4:] == ["text of choice 0", "  abc", "text of choice 1", "  ABC"]
    assert json.loads(read("show", one, "--json").out)["text"] == ["abc", "ABC"]


def test_long_texts_are_cut_and_say_so(read: Read, watch: Watch, one: Path) -> None:
    """Twelve lines; a long line counts as many as a terminal makes of it."""
    with writing(one) as keep:
        keep(chat(words=[f"line {number}\n" for number in range(20)]), chat(words=["word " * 400], started=1000))
    first = json.loads(read("ls", one, "--json").out)[0]["id"]
    page = shown(read, one, first)
    assert page[-2:] == ["  line 11", "  … 8 more lines: --no-trunc"]
    assert shown(read, one, first, "--no-trunc")[-1] == "  line 19"
    assert shown(read, one)[-1] == "  " + ("word " * 400).rstrip()
    assert "more lines: --no-trunc" in watch(80, "show", one)[1]


BODIES: list[tuple[bytes, str]] = [
    (b'{"model":"m","prompt":[1,2,3],"stream":false}', "3 prompt tokens, stream=false"),
    (b'{"model":"m","prompt":["a","b"]}', "2 prompts"),
    (b'{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"hi"}]}]}', "1 input item"),
    (b'{"model":"m","response_format":{"type":"json_object"},"stop":["a"]}', "stop=['a'], response_format=json_object"),
    (b'{"stop":[["a"]],"response_format":{}}', "stop=[…], response_format={…}"),
    (b"[1]", "a body that is no JSON object"),
    (b"\xff\xfe", "a body that is no JSON object"),
    (b"", "no body"),
    (b'{"messages":5,"tools":{},"input":[5],"prompt":[[1]],"stop":[[[]]]}', "1 input item, 1 prompt, stop=[…]"),
    (b'{"stop":' + b"[" * 900 + b"]" * 900 + b"}", "stop=[…]"),
]


@pytest.mark.parametrize(("body", "summary"), BODIES)
def test_requests_of_every_dialect(read: Read, one: Path, body: bytes, summary: str) -> None:
    """What is odd is shown as far as it can be read."""
    with writing(one, MatchRules("exact")) as keep:
        keep(answer(Request("POST", "/v1/x", JSON, body), b"{}"))
    request = next(line for line in shown(read, one) if line.startswith("request"))
    assert request.startswith(f"request    {summary}   ")


ASKED: list[tuple[dict[str, Any], str]] = [
    ({"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]}, 'user: "b"'),
    (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image_url"}]}]},
        'user: "see [image_url]"',
    ),
    ({"prompt": "Once"}, '"Once"'),
    ({"prompt": ["Once", "Twice"]}, '"Twice"'),
    ({"input": "hello\nyou"}, r'"hello\nyou"'),
]


@pytest.mark.parametrize(("body", "line"), ASKED)
def test_the_last_thing_that_was_asked(read: Read, one: Path, body: dict[str, Any], line: str) -> None:
    """On one line."""
    with writing(one) as keep:
        keep(answer(Request("POST", "/v1/x", JSON, orjson.dumps(body)), b"{}"))
    assert f"asked      {line}" in shown(read, one)


def test_a_coded_body_is_read_decoded(read: Read, one: Path) -> None:
    """gzip is undone for eyes; the bytes stay what they are."""
    body = gzip.compress(delta("Hi") + event({"choices": []}))
    half = len(body) // 2
    chunks = [Chunk(10 * MS, body[:half]), Chunk(20 * MS, body[half:])]
    with writing(one) as keep:
        keep(piece(asked("x"), Head(MS, 200, (*STREAM, ("Content-Encoding", "gzip"))), chunks, 20 * MS))
    page = shown(read, one)
    assert page[-2:] == ["text", "  Hi"]
    assert any("content-encoding gzip" in line for line in page)
    said = json.loads(read("show", one, "--json").out)
    assert base64.b64decode(said["response"]["body_base64"]) == body
    assert read("show", one, "--print", "b").out.startswith('data: {"object"')


def test_everything_as_data(read: Read, one: Path) -> None:
    """Bodies as text, or base64 where they are none; times in seconds."""
    with writing(one) as keep:
        keep(pair(chat(words=["a", "b"])))
    said = json.loads(read("show", one, "--json").out)
    assert said["request"]["method"] == "POST"
    assert json.loads(said["request"]["body"])["model"] == "tiny"
    assert said["response"]["body"].endswith("data: [DONE]\n\n")
    assert said["response"]["chunks"] == [
        {"at_s": 0.1, "bytes": 90},
        {"at_s": 0.12, "bytes": 90},
        {"at_s": 0.121, "bytes": said["response_size"] - 180},
    ]
    assert (said["response"]["head_s"], said["response"]["end_s"], said["response"]["ending"]) == (
        0.1,
        0.121,
        "complete",
    )
    assert said["match"]["profile"] == "default"
    assert [(leg["role"], leg["started_s"], leg["response"]["status"]) for leg in said["legs"]] == [
        ("prefill", 0.002, 200),
        ("decode", 0.035, 200),
    ]


def test_hostile_text_is_shown_and_does_nothing(read: Read, one: Path) -> None:
    """In prompts, answers, headers, targets and scopes."""
    evil = "\x1b]52;c;ZWNobyBoaQ==\x07\x1b[2J\x9b1m\u202e\r"
    latin = "\x1b[31m\x9b"
    with writing(one) as keep:
        request = Request("POST", "/v1/chat/completions?" + latin, (("x" + latin, latin),), asked(evil).body)
        keep(piece(request, Head(MS, 200, (*STREAM, ("vary", latin))), [Chunk(MS, delta(evil))], MS))
    for flags in ((), ("--print", "mHBhbt"), ("--json",), ("--csv",), ("--no-trunc",)):
        out = read("show", one, *flags).out
        assert not set(out) & set("\x1b\x07\x9b\u202e\r"), flags
    page = "\n".join(shown(read, one))
    assert r"\x1b]52;c;ZWNobyBoaQ==\x07\x1b[2J\x9b1m\u202e\r" in page
    assert r"/v1/chat/completions?\x1b[31m\x9b" in page
    assert json.loads(read("show", one, "--json").out)["text"] == [evil]
