"""The scripts of `examples/vllm-mock` with a `vllm` that only says how it was called; the real one is in tests/live."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.examples.folders import EXAMPLES

SERVE = EXAMPLES / "vllm-mock" / "serve"
VLLM = r"""#!/usr/bin/env bash
printf "%s\n" "$@" "role=${PREFILL_PROCESS:-}"
echo >> "$HOME/calls"
until [ "$(wc -l < "$HOME/calls")" -ge "${CALLS:-1}" ]; do :; done   # the first that ends, ends the other one
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """What `install` makes, as far as `serve` looks at it."""
    folder = tmp_path / "real-vllm"
    (folder / "venv" / "bin").mkdir(parents=True)
    (folder / "no-weights").mkdir()
    vllm = folder / "venv" / "bin" / "vllm"
    vllm.write_text(VLLM)
    vllm.chmod(0o755)
    return folder


def served(home: Path, *arguments: str, script: str = "serve", **variables: str) -> subprocess.CompletedProcess[str]:
    """How vLLM was called, a word per line."""
    return subprocess.run(
        [SERVE.with_name(script), *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "REPLAYPROXY_REAL_VLLM": str(home), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_an_installation_it_says_what_to_do(tmp_path: Path) -> None:
    """Instead of an error of bash."""
    ran = served(tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.strip().endswith("/install first")


def test_it_serves_without_weights_and_takes_further_flags(home: Path) -> None:
    """The executor is ours; what follows the port is vLLM's."""
    words = served(home, "8123", "--block-size", "32", REPLAYPROXY_CASSETTE="a.cassette").stdout.splitlines()
    assert words[:2] == ["serve", str(home / "no-weights")]
    assert words[words.index("--port") + 1] == "8123"
    assert words[words.index("--distributed-executor-backend") + 1] == "replayproxy.vllm_plugin.CassetteExecutor"
    assert words[-3:-1] == ["--block-size", "32"]


@pytest.mark.parametrize("variables", [{"CAPTURE_MODE": "1"}, {"REPLAYPROXY_ENGINE_MODE": "capture"}])
def test_a_capture_has_the_model_and_time_to_end(home: Path, variables: dict[str, str]) -> None:
    """The last answers are written when vLLM is told to end."""
    words = served(home, **variables).stdout.splitlines()
    assert words[1] == str(home / "tiny")
    assert words[words.index("--shutdown-timeout") + 1] == "10"


def test_a_pair_has_two_roles(home: Path) -> None:
    """Each with its port and its side of the connector."""
    words = served(home, "8101", "8201", script="serve-pair", CALLS="2").stdout.splitlines()
    roles = [word for word in words if "kv_role" in word]
    assert sorted(roles) == [
        f'{{"kv_connector":"NixlConnector","kv_role":"{role}","kv_buffer_device":"cpu"}}'
        for role in ("kv_consumer", "kv_producer")
    ]
    assert {"8101", "8201", "role=1", "role=0"} <= set(words)
