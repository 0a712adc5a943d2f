"""What the fixture gives to a test, where there is no proxy behind it; with one see `test_replaying`."""

from __future__ import annotations

from pathlib import Path

import pytest

from replayproxy import Cassette, Exchange, replay
from replayproxy.pytest_plugin.playback import Playback
from tests.api.test_server import ask

CHAT = "/v1/chat/completions"


def test_without_a_proxy_it_is_an_address() -> None:
    """As with --disable-replayproxy: the live server answers, and nothing is known of it."""
    playback = Playback("http://llm:8000", "test", Path("a.cassette"), records=True)
    assert (playback.base_url, playback.calls, playback.misses) == ("http://llm:8000/v1", [], [])
    assert playback.env["ANTHROPIC_BASE_URL"] == "http://llm:8000"
    playback.assert_all_played()


def test_it_sees_its_own_scope_and_requests_without_one(tmp_path: Path) -> None:
    """Calls of another test are not its own; what was not played is named."""
    path = tmp_path / "chat.cassette"
    with Cassette.create(path) as cassette:
        for prompt in ("a", "b"):
            cassette.add(Exchange.of("POST", CHAT, {"prompt": prompt}, answer=[b'{"text": "hi"}']))
    with replay(path) as server:
        playback = Playback(f"{server.url}/t/mine", "mine", path, False, server)
        assert ask(playback.url, CHAT, prompt="a")[0] == 200
        assert ask(server.url, CHAT, prompt="c")[0] == 404
        assert ask(f"{server.url}/t/other", CHAT, prompt="b")[0] == 200
        assert [call.outcome for call in playback.calls] == ["replay", "refuse"]
        played, missed = playback.calls
        assert (played.request.method, played.request.path, played.request.json) == ("POST", CHAT, {"prompt": "a"})
        assert played.response is not None
        assert (played.response.status, played.response.json) == (200, {"text": "hi"})
        assert missed.response is None
        assert [miss.code for miss in playback.misses] == ["nothing_close"]
        sentence = f"1 of 2 recordings on .* were not played:\n  [0-9a-f]{{8}}  POST {CHAT}"
        with pytest.raises(AssertionError, match=sentence):
            playback.assert_all_played()
