"""`examples/real-vllm/` does what its README says."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.apps import run
from tests.live.matrix import chat
from tests.live.server import EXAMPLE, RealVllm
from tests.processes import running
from tests.wire import ask

PORTS = ("--port", "0", "--admin-port", "0")
TOLD = {"REPLAYPROXY_REAL_VLLM": "somewhere"}
"""What a user has set who keeps vLLM elsewhere. replayproxy itself does not know this variable."""


def test_record_and_replay_by_the_scripts(vllm: RealVllm, tmp_path: Path) -> None:
    """`./record`, a request, Ctrl-C, `./replay`: the same request gets the same answer in the same time, or in one of
    three times, for others use the machine too."""
    cassette = tmp_path / "chat.cassette"
    request = chat("Tell me a story", stream=True, temperature=0, max_tokens=60)
    record = running(cassette, "--upstream", vllm.url, *PORTS, program=[EXAMPLE / "record"], variables=TOLD)
    with record as proxy:
        recorded = run(ask(proxy.url, request))
    assert proxy.code == 0, proxy.said
    assert recorded.status == 200
    took: list[float] = []
    while len(took) < 3 and not any(0.5 < each < 2 for each in took):
        with running(cassette, *PORTS, program=[EXAMPLE / "replay"], variables=TOLD) as proxy:
            replayed = run(ask(proxy.url, request))
        assert proxy.code == 0, proxy.said
        assert (replayed.body, replayed.cuts) == (recorded.body, recorded.cuts)
        took.append(replayed.end / recorded.end)
    assert 0.5 < took[-1] < 2, f"at once or late: {took}"


def test_install_may_be_run_again(vllm: RealVllm) -> None:
    """What is installed stays: the second run says so and changes nothing."""
    if not vllm.ours:
        pytest.skip("REPLAYPROXY_LIVE_UPSTREAM names a server: nothing was installed")
    again = subprocess.run([EXAMPLE / "install"], capture_output=True, text=True, timeout=10, check=True)
    assert "is installed in" in again.stdout
    assert len(again.stdout.splitlines()) == 1


def test_serve_without_install_says_what_to_do(tmp_path: Path) -> None:
    """A sentence and exit code 1, not a traceback."""
    told = {**os.environ, "REPLAYPROXY_REAL_VLLM": str(tmp_path)}
    ran = subprocess.run([EXAMPLE / "serve"], capture_output=True, text=True, env=told, timeout=10, check=False)
    assert ran.returncode == 1
    assert f"there is no vLLM in {tmp_path}: run {EXAMPLE}/install first" in ran.stderr
