"""Tests of `control`: what an entry point reads of a proxy, and what it changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from replayproxy.app import App
from replayproxy.cassette.file_digest import file_digests
from replayproxy.core.policy import Mode
from replayproxy.proxy.request_log import RequestLog
from replayproxy.settings import Listen, Settings
from tests import recordings, wire
from tests.apps import recording, replaying, run, running
from tests.doubles import upstreams
from tests.doubles.upstreams import Send, scripted

HELLO, OTHER = recordings.asked("hello"), recordings.asked("other")


def taped(path: Path) -> Path:
    """A cassette with one recording."""

    async def record() -> None:
        answer = Send(upstreams.answer("200 OK", recordings.whole_answer("hi")))
        async with scripted(answer) as server, running(recording(path, server.url)) as proxy:
            await wire.ask(proxy.url, HELLO)

    run(record())
    return path


def test_the_report_is_the_same_as_json(tmp_path: Path) -> None:
    """Made in a thread and in parts; and misses are found by name."""
    cassette = taped(tmp_path / "a.cassette")

    async def ask() -> None:
        async with running(replaying(cassette)) as proxy:
            control = proxy.app.control
            assert [one.place for one in control.report().unused] == [one.place for one in control.recordings()]
            statuses = [(await wire.ask(proxy.url, request)).status for request in (HELLO, OTHER)]
            assert statuses == [200, 404]
            document: dict[str, Any] = orjson.loads(b"".join(await control.report_as_json()))
            report = control.report()
            with_digests = replace(report, digests=file_digests((cassette,)))
            assert document == orjson.loads(b"".join(with_digests.encoded()))
            assert (report.served, len(report.causes), report.unused) == (1, 1, ())
            [name] = control.misses()
            assert await control.misses_as_json() == [control.miss_as_json(name)]
            assert control.miss_as_json("m-9999") is None

    run(ask())


def test_reset_begins_anew_and_forgets_counts_only_where_told(tmp_path: Path) -> None:
    """Positions of one scope, or of all; the counts and the misses with `counts`."""
    cassette = taped(tmp_path / "a.cassette")

    async def ask() -> None:
        async with running(Settings(Mode.REPLAY, (cassette,), listen=Listen())) as proxy:
            control = proxy.app.control
            await wire.ask(proxy.url, OTHER)
            control.reset("a")
            assert (control.counters.requests["refuse"], len(control.misses())) == (1, 1)
            control.reset(counts=True)
            assert (control.counters.requests["refuse"], control.misses()) == (0, {})

    run(ask())


def test_calls_are_those_of_the_request_log(tmp_path: Path) -> None:
    """None without one."""
    cassette = taped(tmp_path / "a.cassette")

    async def ask(request_log: RequestLog | None) -> list[str]:
        app = App(replaying(cassette, listen=Listen(port=0, admin_port=None)), request_log=request_log)
        addresses = await app.start()
        await wire.ask(addresses.url, HELLO)
        await app.stop()
        return [call.outcome for call in app.control.calls()]

    assert run(ask(RequestLog())) == ["replay"]
    assert run(ask(None)) == []


def test_a_draining_proxy_is_not_ready(tmp_path: Path) -> None:
    """A load balancer sends it nothing more."""
    cassette = recordings.record(tmp_path / "any.cassette", [])

    async def stop() -> None:
        async with running(replaying(cassette)) as proxy:
            assert proxy.app.control.reasons_not_ready() == []
            await proxy.app.stop()
            assert proxy.app.control.reasons_not_ready() == ["draining"]

    run(stop())


def test_rotation_continues_in_a_new_file_named_after_the_time(tmp_path: Path) -> None:
    """Both files are among those recorded, in their order."""
    cassette = tmp_path / "a.cassette"

    async def rotate() -> None:
        async with (
            scripted(Send(upstreams.answer("200 OK", b"{}")), again=True) as server,
            running(recording(cassette, server.url)) as proxy,
        ):
            control = proxy.app.control
            assert await control.rotate() == tuple(map(str, control.recorded_files))
            assert control.recorded_files[0] == cassette
            assert control.recorded_files[1].match("a-*T*Z.cassette")

    run(rotate())
