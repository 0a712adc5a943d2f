"""Which requests a pair asks both of its servers, seen from the servers."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from replayproxy.core.policy import Mode
from replayproxy.settings import Pair, Settings
from tests import wire
from tests.apps import run, running
from tests.doubles.upstreams import Scripted, Send, answer, scripted

OK = answer("200 OK", b"{}")


def bodies(server: Scripted) -> list[tuple[str, object]]:
    """The target and the JSON of each request."""
    heard = []
    for visit in server.visits:
        head, _, body = bytes(visit.heard).partition(b"\r\n\r\n")
        heard.append((head.split(b" ")[1].decode(), orjson.loads(body)))
    return heard


@pytest.mark.parametrize(
    ("path", "body", "cut"),
    [
        (
            "/generate",
            {"text": "hi", "sampling_params": {"max_new_tokens": 9}},
            {"sampling_params": {"max_new_tokens": 1}},
        ),
        ("/inference/v1/generate", {"token_ids": [1], "sampling_params": {}}, {"sampling_params": {"max_tokens": 1}}),
        ("/v1/chat/completions/", {"messages": [], "max_tokens": 9}, {"max_tokens": 1}),
        ("//v1/chat/completions", {"messages": [], "max_tokens": 9}, {"max_tokens": 1}),
        ("/v1/responses", {"input": "hi"}, {"max_output_tokens": 1}),
        ("/v1/messages", {"messages": [], "max_tokens": 9}, {"max_tokens": 1}),
        ("/v1/completions", {"prompt": "hi", "max_tokens": 9}, {"max_tokens": 1}),
    ],
)
def test_what_generates_is_asked_of_both(tmp_path: Path, path: str, body: dict[str, object], cut: object) -> None:
    """Each under the path that the client used."""
    assert isinstance(cut, dict)

    async def dialogue() -> None:
        async with scripted(Send(OK)) as prefill, scripted(Send(OK)) as decode:
            pair = Pair(prefill=(prefill.url,), decode=(decode.url,), protocol="plain")
            async with running(Settings(Mode.RECORD, (tmp_path / "a.cassette",), pair=pair)) as proxy:
                assert (await wire.ask(proxy.url, wire.post(path, body))).status == 200
            assert bodies(prefill) == [(path, body | cut | {"stream": False})]
            assert bodies(decode) == [(path, body)]

    run(dialogue())


def test_what_only_looks_like_it_is_counted_and_warned_about_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes to decode alone; a list of models is no reason to warn."""

    async def dialogue() -> None:
        async with scripted(Send(OK)) as prefill, scripted(Send(OK), again=True) as decode:
            pair = Pair(prefill=(prefill.url,), decode=(decode.url,), protocol="plain")
            settings = Settings(Mode.RECORD, (tmp_path / "a.cassette",), pair=pair)
            async with running(settings, admin=True) as proxy:
                await wire.ask(proxy.url, wire.post("/v1/embeddings", {"input": "hi"}))
                assert not caplog.records
                for _ in range(2):
                    await wire.ask(proxy.url, wire.post("/api/chat", {"messages": []}))
                assert proxy.admin_url is not None
                metrics = (await wire.ask(proxy.admin_url, wire.get("/metrics"))).body.decode()
            assert not prefill.visits
        assert "replayproxy_upstream_unsplit_total 2.0" in metrics
        assert sum("without a prefill" in record.getMessage() for record in caplog.records) == 1

    run(dialogue())


def test_a_batch_that_the_protocol_cannot_hand_over_is_counted(tmp_path: Path) -> None:
    """NIXL's ticket is for one prompt: several in one request go to decode alone."""

    async def dialogue() -> None:
        async with scripted(Send(OK)) as prefill, scripted(Send(OK)) as decode:
            pair = Pair(prefill=(prefill.url,), decode=(decode.url,), protocol="nixl")
            async with running(Settings(Mode.RECORD, (tmp_path / "a.cassette",), pair=pair)) as proxy:
                await wire.ask(proxy.url, wire.post("/v1/completions", {"prompt": ["a", "b"]}))
                assert proxy.app.parts.upstream is not None
                assert proxy.app.parts.upstream.counts["unsplit"] == 1

    run(dialogue())
