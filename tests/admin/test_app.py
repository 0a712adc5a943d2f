"""The admin port: what it shows of a run, what it changes, and whom it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from replayproxy.core.sequence import AtEnd
from replayproxy.errors import SettingsError
from replayproxy.model import Request
from replayproxy.settings import Listen, Replaying
from tests import wire
from tests.apps import Running, recording, replaying, run, running
from tests.cli.commands import tape
from tests.cli.tapes import asked
from tests.doubles.upstreams import Hang, scripted


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    """One chat, asked twice when it was recorded, and another."""
    return tape(tmp_path / "chat.cassette", "a", "a", "b")


async def admin(proxy: Running, method: str, target: str, *headers: tuple[str, str]) -> tuple[int, Any]:
    """Status and JSON of an answer."""
    assert proxy.admin_url is not None
    answer = await wire.ask(proxy.admin_url, Request(method, target, headers))
    assert answer.head.get("content-type") == "application/json"
    return answer.status, orjson.loads(answer.body)


async def status(proxy: Running, prompt: str, scope: str = "") -> int:
    """Of the answer to a chat."""
    request = asked(prompt)
    target = f"/t/{scope}{request.target}" if scope else request.target
    return (await wire.ask(proxy.url, Request("POST", target, request.headers, request.body))).status


ONCE = Replaying(at_end=AtEnd.REFUSE)


def test_report_and_misses(cassette: Path) -> None:
    """What became of the run so far, each miss by its number, and 404 for a number that nobody has."""

    async def dialogue() -> None:
        async with running(replaying(cassette, replaying=ONCE), admin=True) as proxy:
            assert [await status(proxy, prompt) for prompt in ("a", "z", "z")] == [200, 404, 404]
            _, report = await admin(proxy, "GET", "/report")
            assert (report["served"], report["recordings"], len(report["unused"])) == (1, 3, 2)
            _, misses = await admin(proxy, "GET", "/misses")
            assert [(miss["id"], miss["times"], miss["code"]) for miss in misses["misses"]] == [
                ("m-0001", 2, "nothing_close")
            ]
            assert await admin(proxy, "GET", "/misses/m-0001") == (200, misses["misses"][0])
            missing, said = await admin(proxy, "GET", "/misses/m-9999")
            assert (missing, "no such miss" in said["error"]) == (404, True)

    run(dialogue())


def test_reset_begins_again_in_one_scope_or_in_all(cassette: Path) -> None:
    """Positions go back; the counts stay, unless they were asked to go."""

    async def dialogue() -> None:
        async with running(replaying(cassette, replaying=ONCE), admin=True) as proxy:
            for scope in ("one", "two"):
                assert [await status(proxy, "b", scope) for _ in range(2)] == [200, 404]
            assert (await admin(proxy, "POST", "/reset?scope=one"))[0] == 200
            assert [await status(proxy, "b", scope) for scope in ("one", "two")] == [200, 404]
            assert (await admin(proxy, "POST", "/reset"))[0] == 200
            assert [await status(proxy, "b", scope) for scope in ("one", "two")] == [200, 200]
            assert (await admin(proxy, "GET", "/report"))[1]["served"] == 5
            await admin(proxy, "POST", "/reset?report=1")
            _, report = await admin(proxy, "GET", "/report")
            assert (report["served"], report["misses"], len(report["unused"])) == (0, [], 3)
            assert report["recordings"] == 3

    run(dialogue())


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ((), 200),
        ((("Origin", "http://evil.example"),), 403),
        ((("Origin", "null"),), 403),
        ((("Host", "evil.example"),), 403),
        ((("Host", "localhost:1"), ("Origin", "http://localhost:1")), 200),
        ((("Host", "localhost:1"), ("Origin", "http://localhost:2")), 403),
    ],
)
def test_a_page_of_another_origin_changes_nothing(
    cassette: Path, headers: tuple[tuple[str, str], ...], code: int
) -> None:
    """A browser on this machine may have any page open."""

    async def dialogue() -> None:
        async with running(replaying(cassette, replaying=ONCE), admin=True) as proxy:
            assert [await status(proxy, "b") for _ in range(2)] == [200, 404]
            assert (await admin(proxy, "POST", "/reset", *headers))[0] == code
            assert await status(proxy, "b") == (200 if code == 200 else 404)

    run(dialogue())


def test_a_recorder_has_no_run_to_show(tmp_path: Path) -> None:
    """Nothing is played, so there is nothing to reset either."""

    async def dialogue() -> None:
        async with (
            scripted(Hang()) as server,
            running(recording(tmp_path / "a.cassette", server.url), admin=True) as it,
        ):
            assert it.admin_url is not None
            answers = [await wire.ask(it.admin_url, Request(*ask)) for ask in (("GET", "/report"), ("POST", "/reset"))]
            assert [answer.status for answer in answers] == [404, 404]

    run(dialogue())


# By which name it is called

NAMES = [
    ("127.0.0.1", True),
    ("10.1.2.3:18081", True),  # a pod's address, as kubelet and Prometheus say it
    ("[::1]:8081", True),
    ("[fd00::5]", True),
    ("localhost", True),
    ("LOCALHOST.:8081", True),
    ("replayproxy.llm.svc:8081", True),
    ("ReplayProxy.llm.svc.", True),
    ("evil.example", False),
    ("127.0.0.1.evil.example", False),  # leads to 127.0.0.1, and is a name
    ("10.1.2.3.nip.io:8081", False),
    ("replayproxy.llm.svc.evil.example", False),
    ("evil.example:127.0.0.1", False),
    ("[evil.example]", False),
    ("2130706433", False),  # no browser sends an address so
    ("localhost evil", False),
    ("", False),
]


@pytest.mark.parametrize(("host", "welcome"), NAMES)
def test_traffic_is_shown_under_addresses_and_known_names(cassette: Path, host: str, welcome: bool) -> None:
    """A page whose name was rebound to this port sends that name. Probes and metrics never need a known one."""
    well_formed = host not in ("evil.example:127.0.0.1", "localhost evil")

    async def dialogue() -> None:
        settings = replaying(cassette, replaying=ONCE, listen=Listen(admin_allowed_hosts=("replayproxy.llm.svc",)))
        async with running(settings, admin=True) as proxy:
            assert proxy.admin_url is not None
            for method, path in (("GET", "/report"), ("GET", "/misses"), ("POST", "/reset"), ("POST", "/health")):
                answer = await wire.ask(proxy.admin_url, Request(method, path, (("Host", host),)))
                expected = (200 if path != "/health" else 405) if welcome else 403
                assert answer.status == (expected if well_formed else 400), (method, path)
            for path in ("/health", "/ready", "/metrics"):
                answer = await wire.ask(proxy.admin_url, Request("GET", path, (("Host", host),)))
                assert answer.status == (200 if well_formed else 400), path

    run(dialogue())


def test_a_refusal_names_the_flag(cassette: Path) -> None:
    """Not the name that was called: nothing of a request is quoted."""

    async def dialogue() -> None:
        async with running(replaying(cassette), admin=True) as proxy:
            _, said = await admin(proxy, "GET", "/report", ("Host", "replayproxy:8081"))
            assert "--admin-allowed-host NAME" in said["error"]

    run(dialogue())


@pytest.mark.parametrize("name", ["", "http://replayproxy", "replayproxy:8081", "*.svc", "a b"])
def test_an_allowed_host_is_a_name(name: str) -> None:
    """Without scheme, port or pattern: what cannot be meant is refused, and not ignored."""
    with pytest.raises(SettingsError, match="--admin-allowed-host"):
        Listen(admin_allowed_hosts=(name,))
