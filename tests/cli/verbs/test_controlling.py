"""`wait` and `ctl` against real servers: what they say, and the exit code."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import orjson
import pytest

import replayproxy
from tests.cli.commands import asking, tape
from tests.cli.tapes import Read
from tests.forked import Forked
from tests.processes import Proxy, environment, replaying, running
from tests.unused_ports import refusing_port, unused_port


@contextmanager
def answering(**statuses: int) -> Iterator[str]:
    """A server with these statuses for /health and /v1/models; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(statuses[self.path.rpartition("/")[2]])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


# wait


@pytest.mark.parametrize(
    "statuses",
    [{"health": 200}, {"health": 404, "models": 200}, {"health": 401}, {"health": 404, "models": 401}],
    ids=str,
)
def test_what_answers_is_ready(read: Read, statuses: dict[str, int]) -> None:
    """/health, or /v1/models where there is none; who asks for a key is there; with or without /v1."""
    with answering(**statuses) as url:
        assert read("wait", url) == (0, "", "")
        assert read("wait", f"{url}/v1/").code == 0


@pytest.mark.parametrize(
    ("statuses", "seen"),
    [
        ({"health": 503}, "503 for /health"),
        ({"health": 404, "models": 404}, "404 for /health and 404 for /v1/models"),
        ({"health": 404, "models": 502}, "404 for /health and 502 for /v1/models"),
    ],
)
def test_what_is_not_ready_in_time_is_told(read: Read, statuses: dict[str, int], seen: str) -> None:
    """Exit code 124, as timeout(1), with what was seen last."""
    with answering(**statuses) as url:
        ran = read("wait", url, "--timeout", "300ms")
    assert ran.code == 124
    assert f"{url} was not ready within 300 ms; seen last: {seen}" in ran.err


def test_nobody_there(read: Read) -> None:
    """A refused connection is waited for; so is one that is taken and left without an answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        ran = read("wait", url, "--timeout", "300ms")
        assert (ran.code, "a connection, and no answer" in ran.err) == (124, True)
    with refusing_port() as port:
        ran = read("wait", f"http://127.0.0.1:{port}", "--timeout", "1s")
        assert (ran.code, "Connection refused" in ran.err) == (124, True)


def test_a_server_that_comes_later_is_waited_for(tmp_path: Path) -> None:
    """The waiting ends when the proxy is there; the URL may come from the environment."""
    cassette = tape(tmp_path / "chat.cassette", "a")
    port = unused_port()
    variables = environment() | {"REPLAYPROXY_URL": f"http://127.0.0.1:{port}"}
    waiting = Forked(["wait", "--timeout", "60s"], env=variables)
    try:
        with running("replay", cassette, "--port", str(port), "--admin-port", "off"):
            assert waiting.wait(60) == 0
    finally:
        waiting.kill()


# ctl


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    """A replay that has served one chat and missed another twice."""
    cassette = tape(tmp_path / "chat.cassette", "a", "b")
    with replaying(cassette, "--at-end", "refuse") as running:
        chat(running, "a", "z", "z")
        yield running


def chat(proxy: Proxy, *prompts: str) -> str:
    """Ask, and give the statuses."""
    variables = environment() | {"OPENAI_BASE_URL": f"{proxy.url}/v1", "NO_PROXY": "*"}
    ran = subprocess.run(asking(*prompts), env=variables, capture_output=True, text=True, check=True)
    return ran.stdout


def test_ctl_tells_and_resets(read: Read, proxy: Proxy) -> None:
    """One dialogue: status, misses as a table and as data, one miss, the report, and back to the start."""
    at = ("--admin", str(proxy.admin_url))
    assert "ready" in read("ctl", "status", *at).out
    table = read("ctl", "misses", *at).out.splitlines()
    assert table[0].split() == ["MISS", "TIMES", "WHY", "REQUEST", "SCOPE"]
    assert table[1].split()[:5] == ["m-0001", "2", "nothing_close", "POST", "/v1/chat/completions"]
    (miss,) = orjson.loads(read("ctl", "misses", "--json", *at).out)
    assert (miss["id"], miss["times"]) == ("m-0001", 2)
    assert "no recording matches" in read("ctl", "misses", "m-0001", *at).out.lower()
    assert orjson.loads(read("ctl", "misses", "m-0001", "--json", *at).out) == miss
    report = read("ctl", "report", *at).out
    assert "1 answer from recordings" in report
    assert "2, of 1 cause" in report
    assert "1 of 2 recordings" in report
    assert chat(proxy, "a") == "a 404\n"
    assert "every scope" in read("ctl", "reset", *at).out
    assert chat(proxy, "a") == "a 200\n"
    assert "scope ''" in read("ctl", "reset", "--scope", "", "--counts", *at).out
    assert read("ctl", "misses", *at).out == "no misses\n"
    assert chat(proxy, "a") == "a 200\n"


def test_ctl_without_an_answer_is_a_sentence(read: Read, proxy: Proxy) -> None:
    """Exit code 1: nobody there, another server, a replay that is to rotate, a number that nobody has."""
    with refusing_port() as port:
        ran = read("ctl", "status", "--admin", f"http://127.0.0.1:{port}")
    assert (ran.code, "Give its admin port with --admin URL" in ran.err) == (1, True)
    ran = read("ctl", "report", "--admin", proxy.url)
    assert (ran.code, "the admin port of a proxy that replays" in ran.err or "refuses" in ran.err) == (1, True)
    ran = read("ctl", "rotate", "--admin", str(proxy.admin_url))
    assert (ran.code, "the admin port of a proxy that records" in ran.err) == (1, True)
    ran = read("ctl", "misses", "m-9", "--admin", str(proxy.admin_url))
    assert (ran.code, "there is no miss m-9" in ran.err) == (1, True)


@pytest.fixture
def simulated() -> Iterator[str]:
    """The admin port of a simulator."""
    with replayproxy.simulate(model="tiny", admin_port=0) as server:
        yield str(server.admin_url)


def test_ctl_changes_a_simulator(read: Read, simulated: str) -> None:
    """Latency, failures and metrics, by the names of its flags; what cannot be is a sentence and changes nothing."""
    at = ("--admin", simulated)
    out = read("ctl", "set", "latency", "time-to-first-token=2s", "inter-token-latency=50", *at).out
    assert ["inter-token-latency", "0.05"] in [line.split() for line in out.splitlines()]
    words = ("failure-injection-rate=10", "failure-types=rate_limit,server_error", "fail=cut@12", "fail=status=503")
    failures = orjson.loads(read("ctl", "set", "failures", *words, "--json", *at).out)["failures"]
    assert failures == {
        "failure-injection-rate": 10,
        "failure-types": ["rate_limit", "server_error"],
        "fail": ["cut@12", "status=503"],
    }
    assert "running" in read("ctl", "set", "metrics", "running=7", *at).out
    assert "none set" in read("ctl", "set", "metrics", "running=null", *at).out
    ran = read("ctl", "set", "latency", "time-to-frist-token=1s", *at)
    assert (ran.code, "did you mean time-to-first-token?" in ran.err) == (1, True)
    assert read("ctl", "set", "latency", "fast", *at).code == 2


def test_ctl_changes_no_replay(read: Read, proxy: Proxy) -> None:
    """And says which proxy it can change."""
    ran = read("ctl", "set", "latency", "ttft=1s", "--admin", str(proxy.admin_url))
    assert (ran.code, "of a proxy that simulates" in ran.err) == (1, True)


@pytest.mark.parametrize("words", [["status", "m-1"], ["report", "--scope", "a"], ["status", "--counts"], ["rset"]])
def test_ctl_words_that_make_no_sense(read: Read, words: list[str]) -> None:
    """Usage: exit code 2."""
    assert read("ctl", *words).code == 2
