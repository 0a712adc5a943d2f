"""A vLLM whose model is ours: installed, started and ended through `examples/vllm-mock/`, as users do.

with mock_engine(log, {"REPLAYPROXY_CASSETTE": …}, "--block-size", "32") as engine:      engine.url
"""

from __future__ import annotations

import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from tests.live.server import RealVllm

EXAMPLE = Path(__file__).parents[2] / "examples" / "vllm-mock"
HOME = Path(os.environ.get("REPLAYPROXY_REAL_VLLM", Path.home() / ".cache/replayproxy/real-vllm"))
PYTHON = HOME / "venv" / "bin" / "python"


@cache
def install_beside() -> None:
    """replayproxy, as it is in this checkout, into the environment of vLLM; once per run."""
    ran = subprocess.run([EXAMPLE / "install"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@contextmanager
def mock_engine(log: Path, variables: Mapping[str, str], *flags: str, serve: str = "serve") -> Iterator[RealVllm]:
    """One that runs. Its log is shown where a test fails with it."""
    install_beside()
    server = RealVllm.start(EXAMPLE / serve, log, flags, variables)
    try:
        yield server
    except (AssertionError, pytest.fail.Exception) as error:
        error.add_note(server.last_words)
        raise
    finally:
        server.stop()


def metric(url: str, name: str) -> float:
    """The sum of a metric of vLLM over its labels."""
    with urllib.request.urlopen(f"{url}/metrics") as response:
        found = re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", response.read().decode(), re.MULTILINE)
    return sum(map(float, found))
