"""Tests of `api/server`: proxies of a program, with real sockets, under `with` and under `async with`."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from replayproxy import (
    Cassette,
    CassetteError,
    Exchange,
    Locked,
    ProxyServer,
    ReplayProxyError,
    SettingsError,
    UpstreamUnreachable,
    auto,
    record,
    replay,
    simulate,
)

CHAT = "/v1/chat/completions"


def ask(url: str, path: str = CHAT, **fields: Any) -> tuple[int, bytes]:
    """Send a request with urllib; gives status and body."""
    body = json.dumps(fields).encode() if fields else None
    request = urllib.request.Request(url + path, body, {"Content-Type": "application/json"})  # noqa: S310  our own URL
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def hello(number: int = 0) -> dict[str, Any]:
    """A chat request."""
    return {"model": "tiny", "stream": True, "max_tokens": 5, "messages": [{"role": "user", "content": f"hi {number}"}]}


@pytest.fixture
def chat(tmp_path: Path) -> Path:
    """A cassette with two answers to one request."""
    path = tmp_path / "chat.cassette"
    with Cassette.create(path) as cassette:
        for word in ("first", "second"):
            event = json.dumps({"choices": [{"delta": {"content": word}}]})
            answer = [f"data: {event}\n\n".encode(), b"data: [DONE]\n\n"]
            cassette.add(Exchange.of("POST", CHAT, hello(), answer=answer, times=[0.001, 0.002]))
    return path


def test_a_cassette_answers_while_the_block_runs(chat: Path) -> None:
    """Byte for byte, equal requests in their order; afterwards nothing listens."""
    with Cassette.open(chat) as cassette:
        first, second = (exchange.value for exchange in cassette)
    with replay(chat) as server:
        assert server.base_url == f"{server.url}/v1"
        assert ask(server.url, **hello()) == (200, first.response.body)
        assert ask(server.url, **hello()) == (200, second.response.body)
        assert [(call.method, call.path, call.outcome) for call in server.calls] == [("POST", CHAT, "replay")] * 2
        assert server.calls[0].json == hello()
        assert "authorization" not in server.calls[0].headers
        report = server.report()
        assert (report.served, report.misses, report.unused) == (2, 0, ())
    assert server.report().served == 2
    with pytest.raises(OSError, match="refused"):
        ask(server.url, **hello())


def test_responses_are_recordings(chat: Path) -> None:
    """As they are on the cassette; after the block the cassette has them."""
    with Cassette.open(chat) as cassette, replay(chat) as server:
        ask(server.url, **hello())
        (call,) = server.calls
        assert call.response == next(iter(cassette)).response
    with pytest.raises(ReplayProxyError, match="within the block"):
        _ = call.response


def test_a_miss_says_why(chat: Path) -> None:
    """It is a call, a miss with a sentence, and stands in the report, also after the block."""
    with replay(chat) as server:
        assert ask(server.url, **hello(7))[0] == 404
        assert [miss.code for miss in server.misses] == ["no_match"]
    (call,) = server.calls
    assert (call.outcome, call.response) == ("refuse", None)
    assert call.miss is not None
    assert "hi 7" in call.miss.explanation or call.miss.sentence
    report = server.report()
    assert (report.served, report.misses, len(report.unused)) == (0, 1, 2)


def test_a_reset_begins_anew(chat: Path) -> None:
    """The first recording answers again."""
    with replay(chat, at_end="refuse") as server:
        ask(server.url, **hello())
        server.reset()
        assert b"first" in ask(server.url, **hello())[1]
        server.reset(counts=True)
        assert server.report().served == 0


def test_scopes_have_calls_and_positions_of_their_own(chat: Path) -> None:
    """`end_scopes` returns each call once, and the scope begins at the first recording again; others go on."""
    with replay(chat, at_end="refuse") as server:
        for scope in ("/t/a", "/t/a", "/t/b", ""):
            assert ask(server.url + scope, **hello())[0] == 200
        ask(f"{server.url}/t/b", **hello(7))
        ask(f"{server.url}/t/a", **hello(7))
        assert [call.scope for call in server.calls_in("a", "")] == ["a", "a", "", "a"]
        assert [call.scope for call in server.end_scopes("a")] == ["a", "a", "a"]
        assert server.calls_in("a") == server.end_scopes("a", "c") == []
        assert [call.scope for call in server.calls] == ["b", "", "b"]
        # Equal misses are remembered once; each call has its own scope.
        assert [miss.scope for miss in server.misses] == ["b"]
        assert [b"first" in ask(f"{server.url}/t/{scope}", **hello())[1] for scope in "ab"] == [True, False]


def test_recordings_are_listed_while_it_runs(chat: Path) -> None:
    """With those that were played marked by their calls."""
    with replay(chat) as server:
        ask(server.url, **hello())
        first, second = server.recordings()
        assert [call.played for call in server.calls] == [first.place]
        assert server.report().unused == (second,)
    with pytest.raises(ReplayProxyError, match="within the block"):
        server.recordings()


def test_a_live_server_may_be_left_alone_until_it_is_needed(tmp_path: Path) -> None:
    """`wait_upstream=None`: nothing listens there, and the proxy starts."""
    settings = record(tmp_path / "new.cassette", upstream="http://127.0.0.1:9", probe=False).settings
    with ProxyServer(settings, wait_upstream=None) as server:
        assert ask(server.url, **hello())[0] == 502
        assert server.trouble is None
        assert server.thread_id in {thread.ident for thread in threading.enumerate()}
    with pytest.raises(UpstreamUnreachable), ProxyServer(settings):
        pass


def test_what_passes_is_recorded(tmp_path: Path) -> None:
    """In front of a server; sealed when the block ends, and played by the next one."""
    path = tmp_path / "new.cassette"
    with simulate("tiny", seed=7) as server, record(path, upstream=server.url, probe=False) as proxy:
        live = ask(proxy.url, **hello())
        assert live[0] == 200
        assert [call.outcome for call in proxy.calls] == ["record"]
        assert [call.outcome for call in server.calls] == ["simulate"]
    assert proxy.report().recorded == 1
    assert not Path(f"{path}-wal").exists()
    with replay(path) as proxy:
        assert ask(proxy.url, **hello()) == live
    with simulate("tiny", seed=7) as server, auto(path, upstream=server.url) as proxy:
        assert ask(proxy.url, **hello()) == live
        ask(proxy.url, **hello(1))
        assert [call.outcome for call in proxy.calls] == ["replay", "record"]
    with Cassette.open(path) as cassette:
        assert [exchange.request_json for exchange in cassette] == [hello(), hello(1)]


def test_one_proxy_may_stand_before_another(chat: Path, tmp_path: Path) -> None:
    """Both in one process: each has a loop of its own."""
    with replay(chat) as behind, record(tmp_path / "copy.cassette", upstream=behind.url) as before:
        assert b"first" in ask(before.url, **hello())[1]
    with Cassette.open(tmp_path / "copy.cassette") as copy, Cassette.open(chat) as original:
        assert next(iter(copy)).text == next(iter(original)).text == "first"


def test_it_works_with_async_with(chat: Path) -> None:
    """The proxy has its own thread there too: a test that blocks its loop still gets its answer."""

    async def use() -> ProxyServer:
        async with replay(chat) as server, replay(chat) as other:
            assert b"first" in ask(server.url, **hello())[1]  # blocks the loop
            assert b"first" in (await asyncio.to_thread(ask, other.url, **hello()))[1]
            assert len(server.calls) == 1
            return server

    server = asyncio.run(use())
    assert server.report().served == 1


def test_the_openai_sdk(golden: Path) -> None:
    """With the address that it wants; the recorded answer streams."""
    openai = pytest.importorskip("openai")
    with Cassette.open(golden) as cassette:
        chosen = next(iter(cassette.filter(endpoint=CHAT, status=200, where="stream AND finish IS NOT NULL")))
    with Cassette.open(golden) as cassette:
        assert chosen.id is not None
        chosen = cassette[chosen.id]
        request, text = chosen.request_json, chosen.text
    with replay(golden) as server, openai.OpenAI(base_url=server.base_url, api_key="-", max_retries=0) as client:
        stream = client.chat.completions.create(**request)
        said = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        assert server.misses == []
    assert said == text


def test_a_child_process_finds_it_by_its_environment(chat: Path) -> None:
    """The names that SDKs read, past any proxy of a company."""
    with replay(chat) as server:
        env = server.env
    assert env["OPENAI_BASE_URL"] == server.base_url
    assert env["ANTHROPIC_BASE_URL"] == server.url
    assert "127.0.0.1" in env["NO_PROXY"]


# Mistakes


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"sped": 1}, TypeError, r"replay\(\) got an unexpected keyword argument 'sped' \(did you mean speed\?\)"),
        ({"sample": 0.5}, TypeError, "unexpected keyword"),
        ({"speed": 0}, SettingsError, "not a speed"),
        ({"on_miss": "refus"}, SettingsError, "choose from"),
        ({"at_end": "stop"}, SettingsError, "choose from cycle"),
        ({"match": "loose"}, SettingsError, "choose from default, exact"),
        ({"upstream": "http://127.0.0.1:9"}, SettingsError, "leave upstream away"),
        ({"on_miss": "forward"}, SettingsError, "needs a live server"),
        ({"redact": ["@/no/such/file"]}, SettingsError, "cannot be read"),
    ],
)
def test_a_mistake_is_found_before_anything_starts(
    chat: Path, options: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    """When the proxy is made."""
    with pytest.raises(error, match=sentence):
        replay(chat, **options)


def test_a_start_that_fails_leaves_nothing(chat: Path, tmp_path: Path) -> None:
    """No thread, no file, no lock; the error is that of the thing at fault."""
    before = threading.active_count()
    with pytest.raises(CassetteError), replay(tmp_path / "missing.cassette"):
        pass
    with (
        pytest.raises(UpstreamUnreachable),
        record(tmp_path / "new.cassette", upstream="http://127.0.0.1:9"),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["chat.cassette"]
    with (
        replay(chat) as one,
        pytest.raises(SettingsError, match=r"in use|cannot"),
        replay(chat, port=int(one.url[-5:])),
    ):
        pass
    with simulate() as server, record(tmp_path / "new.cassette", upstream=server.url):
        with pytest.raises(Locked), record(tmp_path / "new.cassette", upstream=server.url):
            pass
    assert threading.active_count() == before


def test_an_error_in_the_block_stops_it_too(chat: Path) -> None:
    """And is the one that comes out."""
    with pytest.raises(ZeroDivisionError), replay(chat) as server:
        raise ZeroDivisionError
    assert repr(server) == f"<ProxyServer replay {chat} stopped>"
    server.stop()


def test_a_recorder_that_could_not_write_is_loud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traffic passes all the same; the block ends with an error, unless another one comes out of it."""
    monkeypatch.setattr("replayproxy.control.Control.trouble", "the disk is full")
    path = tmp_path / "new.cassette"

    def use(*, fail: bool) -> None:
        with simulate("tiny") as server, record(path, upstream=server.url, probe=False) as proxy:
            assert ask(proxy.url, **hello())[0] == 200
            assert not fail, "the block's own error"

    with pytest.raises(CassetteError, match="not everything was recorded: the disk is full"):
        use(fail=False)
    with pytest.raises(AssertionError, match="the block's own error"):
        use(fail=True)


def test_a_proxy_is_entered_once(chat: Path) -> None:
    """Before it has no address, afterwards it does not begin again."""
    server = replay(chat)
    assert repr(server) == f"<ProxyServer replay {chat} new>"
    with pytest.raises(ReplayProxyError, match="does not listen yet"):
        _ = server.url
    server.stop()
    with server:
        with pytest.raises(ReplayProxyError, match="started before"):
            server.start()
        assert repr(server) == f"<ProxyServer replay {chat} {server.url}>"
    with pytest.raises(ReplayProxyError, match="started before"):
        server.start()


def test_an_admin_port_is_opened_when_named(chat: Path) -> None:
    """None by default."""
    with replay(chat) as server:
        assert server.admin_url is None
    with replay(chat, admin_port=0) as server:
        assert server.admin_url is not None
        assert ask(server.admin_url, "/health")[0] == 200
