"""Tests of `assembly`: what a setting changes in the parts, where no package's own tests can see it."""

from __future__ import annotations

from pathlib import Path

from replayproxy.core.policy import Mode
from replayproxy.settings import RecordingSettings, Settings
from tests import recordings, wire
from tests.apps import recording, run, running
from tests.doubles import upstreams
from tests.doubles.upstreams import Send, scripted


def test_what_is_recorded_may_go_elsewhere(tmp_path: Path) -> None:
    """`onto`: the played cassette stays as it is, and what is new is played after it."""
    old, new = tmp_path / "old.cassette", tmp_path / "new.cassette"

    def saying(text: str) -> Send:
        return Send(upstreams.answer("200 OK", recordings.whole_answer(text)))

    async def record() -> None:
        async with scripted(saying("old")) as server, running(recording(old, server.url)) as proxy:
            await wire.ask(proxy.url, recordings.asked("a"))

    run(record())
    before = old.read_bytes()

    async def dialogue() -> list[bytes]:
        async with scripted(saying("new")) as server:
            settings = Settings(Mode.AUTO, (old,), server.url, recording=RecordingSettings(onto=new))
            async with running(settings) as proxy:
                request = recordings.asked("a")
                first, second = [await wire.ask(proxy.url, request) for _ in range(2)]
                scoped = recordings.asked("a", path="/t/other" + recordings.CHAT)
                again = [await wire.ask(proxy.url, scoped) for _ in range(2)]
                return [answer.body for answer in (first, second, *again)]

    texts = [recordings.whole_answer(text) for text in ("old", "new", "old", "new")]
    assert run(dialogue()) == texts
    assert old.read_bytes() == before
    assert [exchange.response.body for exchange in recordings.read(new)] == [recordings.whole_answer("new")]


def test_cassettes_of_one_run_may_share_their_salt(tmp_path: Path) -> None:
    """What is to be merged masks equal keys alike."""
    key = "sk-proj-" + "k1" * 20

    async def record(name: str, salt: bytes | None) -> bytes:
        cassette = tmp_path / name
        async with scripted(Send(upstreams.answer("200 OK", recordings.whole_answer("hello")))) as server:
            settings = recording(cassette, server.url, recording=RecordingSettings(salt=salt))
            async with running(settings) as proxy:
                await wire.ask(proxy.url, recordings.asked(key))
        return recordings.read(cassette)[0].request.body

    one, two, other = (
        run(record(name, salt)) for name, salt in (("one", b"s" * 16), ("two", b"s" * 16), ("other", None))
    )
    assert one == two != other
    assert key.encode() not in one + other
