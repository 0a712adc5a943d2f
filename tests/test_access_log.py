"""Each answered request has one entry, from the part of the proxy that knows most of it; nothing secret is in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from replayproxy.app import App
from replayproxy.cassette.reader import CassetteReader
from replayproxy.model import Request
from replayproxy.settings import Settings
from replayproxy.views.access import AccessEntry, Outcome, fields_of
from tests import wire
from tests.apps import recording, replaying, run
from tests.doubles.upstreams import Send, answer, chunk, scripted

KEY = "sk-proj-" + "a1B2" * 12
CHAT = wire.post(
    f"/v1/chat/completions?api_key={KEY}",
    {"model": "tiny", "stream": True, "messages": [{"role": "user", "content": "hi"}]},
    ("Authorization", f"Bearer {KEY}"),
)
OTHER = wire.post(
    f"/v1/chat/completions?api_key={KEY}",
    {"model": "tiny", "stream": True, "messages": [{"role": "user", "content": "hi"}], "seed": 7},
)
WORDS = b'data: {"choices":[{"index":0,"delta":{"content":"my key is ' + KEY.encode() + b'"}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"total_tokens":10,"completion_tokens":7}}\n\n'
STREAM = (
    Send(
        answer("200 OK", b"", b"Transfer-Encoding: chunked", media=b"text/event-stream").replace(
            b"Content-Length: 0\r\n", b""
        )
    ),
    Send(chunk(WORDS)),
    Send(chunk(USAGE) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"),
)


async def logged(settings: Settings, *requests: Request) -> list[AccessEntry]:
    """Run a proxy on a free port, send these requests one after the other, and return its entries."""
    entries: list[AccessEntry] = []
    listen = replace(settings.listen, port=0, admin_port=None)
    app = App(replace(settings, listen=listen), access=entries.append)
    url = (await app.start()).url
    try:
        for request in requests:
            await wire.ask(url, request)
    finally:
        await app.stop()
    return entries


def test_a_recording_and_its_replay(tmp_path: Path) -> None:
    """Both name the recording as `show` takes it; the key in the path and in the answer is nowhere."""
    path = tmp_path / "a.cassette"

    async def record() -> list[AccessEntry]:
        async with scripted(*STREAM, again=True) as server:
            return await logged(recording(path, server.url), CHAT)

    [recorded] = run(record())
    with CassetteReader(path) as cassette:
        [row] = cassette.rows()
    assert (recorded.outcome, recorded.id, recorded.status) == (Outcome.RECORDED, row["id"], 200)
    assert (recorded.model, recorded.tokens, recorded.ending) == ("tiny", 7, "complete")
    assert recorded.ttft_s == row["ttft_s"]
    [replayed, missed, probed] = run(logged(replaying(path), CHAT, OTHER, wire.get("/health")))
    assert (replayed.outcome, replayed.id, replayed.tokens) == (Outcome.REPLAYED, row["id"], 7)
    assert (missed.outcome, missed.status, missed.cause, missed.id) == (Outcome.MISS, 404, "no_match", "m-0001")
    assert missed.differs == "$.seed"
    assert (probed.outcome, probed.path) == (Outcome.ANSWERED, "/health")
    for entry in (recorded, replayed, missed, probed):
        assert entry.first_words.startswith("my key is") is (entry in (recorded, replayed))
        assert KEY not in repr(entry) + str(fields_of(entry))


def test_what_is_not_recorded_is_not_looked_into(tmp_path: Path) -> None:
    """Its answer may hold a secret, and nobody has masked it."""
    path = tmp_path / "a.cassette"

    async def forward() -> list[AccessEntry]:
        async with scripted(*STREAM, again=True) as server:
            plain = recording(path, server.url)
            return await logged(replace(plain, recording=replace(plain.recording, exclude=("/v1/*",))), CHAT)

    [entry] = run(forward())
    assert (entry.outcome, entry.status, entry.path) == (Outcome.FORWARDED, 200, "/v1/chat/completions")
    assert (entry.first_words, entry.tokens, entry.ttft_s) == ("", None, None)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    """The entry says what the client got."""
    path = tmp_path / "a.cassette"

    async def ask_nobody() -> list[AccessEntry]:
        async with scripted(*STREAM) as server:
            url = server.url
        plain = recording(path, url)
        return await logged(replace(plain, recording=replace(plain.recording, probe=False)), CHAT, wire.get("/health"))

    recorded, failed = run(ask_nobody())
    assert {recorded.outcome, failed.outcome} == {Outcome.RECORDED, Outcome.FAILED}
    [failed] = [entry for entry in (recorded, failed) if entry.outcome is Outcome.FAILED]
    assert (failed.path, failed.status, failed.cause) == ("/health", 502, "UpstreamUnreachable")
