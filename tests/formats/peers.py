"""Other programs that read what is exported and write what is imported, each in an environment of its own.

`FORMAT_PEERS` names a folder with one virtual environment per program (`aiperf`, `guidellm`, `mitmproxy`, …) and
`node_modules`. A test whose program is not there is skipped, and says how to get it.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

PACKAGES = {
    "aiperf": "aiperf==0.13.0",
    "guidellm": "guidellm==0.8.1",
    "mitmproxy": "mitmproxy>=11",
    "reel": "reel-vcr==0.1.0",
    "timefork": "timefork==0.3.3",
}
"""What a program's environment is made of."""


def python_of(name: str) -> Path:
    """The Python in which a program is installed; skips the test where it is not."""
    folder = os.environ.get("FORMAT_PEERS", "")
    python = Path(folder) / name / "bin" / "python"
    if not folder or not python.exists():
        pytest.skip(
            f"needs {PACKAGES[name]}: python -m venv PEERS/{name} && PEERS/{name}/bin/pip install '{PACKAGES[name]}',"
            " then FORMAT_PEERS=PEERS"
        )
    return python


def run(name: str, program: str, *arguments: str | Path, timeout: int = 100) -> Any:
    """Run a Python program in a program's environment; its last line of stdout is JSON."""
    ran = subprocess.run(
        [python_of(name), "-W", "ignore", "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-4000:]
    return json.loads(ran.stdout.splitlines()[-1])
