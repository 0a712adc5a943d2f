"""One line per request: what a person wants to see first stands first, and what went wrong is red."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replayproxy.cli.terminal.access_line import line_of
from replayproxy.views.access import AccessEntry, Outcome

CHAT = AccessEntry(
    at=1_760_000_000_000_000_000,
    method="POST",
    path="/v1/chat/completions",
    outcome=Outcome.RECORDED,
    status=200,
    total_s=1.48,
    model="tiny",
    tokens=64,
    ttft_s=0.201,
    first_words="turns keeps opens",
    id="d146f967",
)
MISS = AccessEntry(
    at=CHAT.at,
    method="POST",
    path="/v1/chat/completions",
    outcome=Outcome.MISS,
    status=404,
    total_s=0.01,
    model="tiny",
    id="m-0001",
    cause="no_match",
    differs="$.messages[0].content",
)
FAILED = AccessEntry(CHAT.at, "GET", "/v1/models", Outcome.FAILED, 502, 0.01, cause="UpstreamUnreachable")
LINES = {
    "recorded": (
        CHAT,
        'POST /v1/chat/completions tiny 200 64 tokens TTFT 201 ms 1.48 s recorded d146f967 "turns keeps opens…"',
        [],
    ),
    "cut by the server": (
        replace(CHAT, ending="upstream_cut", first_words=""),
        "POST /v1/chat/completions tiny 200 64 tokens TTFT 201 ms 1.48 s recorded d146f967 upstream_cut",
        [],
    ),
    "a miss": (
        MISS,
        "POST /v1/chat/completions tiny 404 miss no_match at $.messages[0].content",
        ["404 ", "miss no_match at $.messages[0].content"],
    ),
    "no server": (
        FAILED,
        "GET /v1/models 502 10.0 ms failed UpstreamUnreachable",
        ["502 ", "failed UpstreamUnreachable"],
    ),
    "no head": (
        replace(CHAT, status=0, tokens=None, ttft_s=None, first_words="", ending="upstream_cut"),
        "POST /v1/chat/completions tiny no answer 1.48 s recorded d146f967 upstream_cut",
        ["no answer ", "recorded d146f967"],
    ),
}


@pytest.mark.parametrize(("entry", "text", "red"), LINES.values(), ids=LINES.keys())
def test_a_line(entry: AccessEntry, text: str, red: list[str]) -> None:
    """The time, then the request, the answer, and what became of both."""
    line = line_of(entry, None)
    clock, _, rest = "".join(span.text for span in line).partition(" ")
    assert (len(clock), rest) == (len("12:03:41"), text)
    assert [span.text for span in line if "red" in span.style] == red


@pytest.mark.parametrize("width", [80, 100, 120])
def test_first_words_end_at_the_edge(width: int) -> None:
    """A line is one line; everything else is kept."""
    line = line_of(replace(CHAT, first_words="word " * 12), width)
    text = "".join(span.text for span in line)
    assert len(text) <= max(width, len("".join(span.text for span in line_of(replace(CHAT, first_words=""), None))))
    assert "d146f967" in text
