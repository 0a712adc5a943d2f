"""A real vLLM for the tests of this folder: installed, started and ended here.

    tests that record ──▶ vLLM is stopped ──▶ tests that replay what was recorded

Where vLLM cannot be installed or does not start, the tests fail with its last words. Skipped is only what is for Node,
on a machine that has none or reaches no registry of npm, and what needs nginx, HAProxy, Apache or Caddy, on a machine
that has none and lets nobody but root install it. For developers, REPLAYPROXY_LIVE_UPSTREAM names a server that
is running already; it is used as it is, and not stopped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import processes
from tests.live import sdk
from tests.live.agent import AGENTS, Travelled, travelled
from tests.live.matrix import Recorded, recorded_matrix
from tests.live.server import EXAMPLE, RealVllm, install
from tests.processes import recording

processes.FORKS = False  # what users start is started here, and its times are measured

PATIENCE = 1800
"""Seconds for a test: the first one installs vLLM."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is `live`; what needs vLLM to be gone comes after everything that needs it."""
    ours = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    for item in ours:
        item.add_marker(pytest.mark.live)
        item.add_marker(pytest.mark.timeout(PATIENCE))
    items.sort(key=lambda item: "after_vllm" in getattr(item, "fixturenames", ()))


Figures = list[str]
"""What was measured, a line each."""

FIGURES = pytest.StashKey[Figures]()


def pytest_configure(config: pytest.Config) -> None:
    """A place for figures."""
    config.stash[FIGURES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what was measured, not only that it was within bounds."""
    if config.stash[FIGURES]:
        terminalreporter.section("measured")
        for line in config.stash[FIGURES]:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Figures:
    """Append a line, and it stands above the last words of the run."""
    return pytestconfig.stash[FIGURES]


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealVllm]:
    """The live server."""
    running = os.environ.get("REPLAYPROXY_LIVE_UPSTREAM")
    if running:
        yield RealVllm.at(running)
        return
    install()
    server = RealVllm.start(EXAMPLE / "serve", tmp_path_factory.mktemp("vllm") / "log")
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def recorded(vllm: RealVllm, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Every kind of request there is, asked through a recorder while vLLM was up."""
    return recorded_matrix(vllm.url, tmp_path_factory.mktemp("matrix") / "matrix.cassette")


@dataclass(frozen=True, slots=True)
class Spoken:
    """A sealed cassette, and what the SDKs had made of the answers while it was recorded."""

    cassette: Path
    objects: dict[str, Any]


@pytest.fixture(scope="session")
def spoken(vllm: RealVllm, tmp_path_factory: pytest.TempPathFactory) -> Spoken:
    """Every call of the SDKs, made through a recorder while vLLM was up."""
    cassette = tmp_path_factory.mktemp("sdk") / "sdk.cassette"
    with recording(cassette, vllm.url) as proxy:
        objects = sdk.objects(proxy.url)
    assert proxy.code == 0, proxy.said
    return Spoken(cassette, objects)


@pytest.fixture(scope="session")
def travels(vllm: RealVllm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Travelled]:
    """An agent's run through a recorder, while vLLM was up, by SDK. Without Node's, where there is no Node."""
    done = {}
    for name in AGENTS:
        with suppress(pytest.skip.Exception):
            done[name] = travelled(name, vllm.url, tmp_path_factory.mktemp(name))
    return done


@pytest.fixture(scope="session")
def after_vllm(recorded: Recorded, spoken: Spoken, travels: dict[str, Travelled], vllm: RealVllm) -> RealVllm:
    """From here on there is no vLLM: its processes have ended and nobody listens on its port."""
    vllm.stop()
    return vllm
