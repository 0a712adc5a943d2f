"""A key that only the proxy has reaches the server with each request, and no cassette."""

from __future__ import annotations

from pathlib import Path

import pytest

from replayproxy.api.options import settings_of
from replayproxy.core.policy import Mode
from replayproxy.errors import SettingsError
from replayproxy.settings import RecordingSettings, Settings
from tests import wire
from tests.apps import exchanges, recording, run, running
from tests.doubles.upstreams import Send, answer, scripted

KEY = "Bearer sk-proj-" + "a1B2" * 12
CHAT = wire.post("/v1/chat/completions", {"model": "tiny"}, ("Authorization", "Bearer of-the-client"))


def test_the_server_gets_it_and_the_cassette_does_not(tmp_path: Path) -> None:
    """In the place of the client's own, also where the proxy asks the server about itself."""
    path = tmp_path / "a.cassette"

    async def dialogue() -> bytes:
        async with scripted(Send(answer("200 OK", b"{}")), again=True) as server:
            settings: Settings = recording(
                path,
                server.url,
                upstream_fields=(("Authorization", KEY),),
                recording=RecordingSettings(probe=True),
            )
            async with running(settings) as proxy:
                assert (await wire.ask(proxy.url, CHAT)).status == 200
            return b"".join(bytes(visit.heard) for visit in server.visits)

    heard = run(dialogue())
    assert heard.count(f"Authorization: {KEY}\r\n".encode()) == heard.count(b" HTTP/1.1\r\n") >= 2
    assert b"of-the-client" not in heard
    [exchange] = exchanges(path)
    assert KEY not in repr(exchange)
    assert KEY not in repr(settings_with_key())
    assert KEY.encode() not in path.read_bytes()


def settings_with_key() -> Settings:
    """Settings that hold the key."""
    return recording(Path("a.cassette"), "http://127.0.0.1:1", upstream_fields=(("Authorization", KEY),))


def test_what_cannot_be_set_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name, without its value."""
    monkeypatch.delenv("GATEWAY_KEY", raising=False)
    options = {"upstream": "http://127.0.0.1:1", "set_upstream_header": ("Authorization=@GATEWAY_KEY",)}
    with pytest.raises(SettingsError, match=r"--set-upstream-header takes Authorization from \$GATEWAY_KEY"):
        settings_of(Mode.RECORD, (Path("a.cassette"),), options)
