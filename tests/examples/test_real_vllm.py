"""`examples/real-vllm/install` on machines whose registries have other builds of torch. A fake Python stands for pip.

The real thing is in `tests/live`.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.examples.folders import EXAMPLES

INSTALL = EXAMPLES / "real-vllm" / "install"
TORCH = re.search(r"^torch==(.+)$", INSTALL.with_name("requirements.txt").read_text("utf-8"), re.MULTILINE)
assert TORCH is not None

PYTHON = """#!/usr/bin/env bash
# usage: as `python3 -m venv --clear DIR` it makes DIR/bin/python, which is this again
here=$(dirname "$0")
case "$*" in
  *"-m venv"*) mkdir -p "${@: -1}/bin"; cp "$0" "${@: -1}/bin/python"; exit ;;
  "-c import torch") [ -e "$here/torch" ] && exit; echo "ImportError: libcudnn.so.9: cannot open" >&2; exit 1 ;;
  *" install "*) echo "$*" >> "$here/pip.log" ;;
esac
case "$*" in
  *extra-index-url*+cpu) found=$PYTORCHS ;;
  *+cpu) found=$REGISTRYS ;;
  *"install torch=="*) found=$WITH_LIBRARIES ;;
  *) exit 0 ;;
esac
[ "$found" = yes ] && touch "$here/torch"
"""


def installed(tmp_path: Path, **has: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """How `install` went in an empty environment, and what pip was asked to install."""
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHON": str(python)}
    ran = subprocess.run(
        [INSTALL], env=variables | {"REGISTRYS": "no", "PYTORCHS": "no", "WITH_LIBRARIES": "no"} | has,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    log = tmp_path / ".cache/replayproxy/real-vllm/venv/bin/pip.log"
    return ran, [line.split(" install ")[1] for line in log.read_text().splitlines()]


CPU = f"torch=={TORCH[1]}+cpu"


@pytest.mark.parametrize(
    ("has", "asked"),
    [
        ({"REGISTRYS": "yes"}, [CPU]),
        ({"PYTORCHS": "yes"}, [CPU, CPU]),
        ({"WITH_LIBRARIES": "yes"}, [CPU, CPU, f"torch=={TORCH[1]}"]),
    ],
    ids=["the registry has the CPU build", "PyTorch's index has it", "the CUDA build gets its libraries"],
)
def test_torch_can_be_imported_in_the_end(tmp_path: Path, has: dict[str, str], asked: list[str]) -> None:
    """The smallest build that there is; and vLLM is installed whichever it was."""
    ran, pip = installed(tmp_path, **has)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert [line.split()[-1] for line in pip if "torch==" in line] == asked
    assert any("--requirement" in line for line in pip)
    assert (tmp_path / ".cache/replayproxy/real-vllm/installed").exists()


def test_where_no_torch_works_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    """With what Python said; and nothing counts as installed."""
    ran, _ = installed(tmp_path)
    assert ran.returncode == 1
    assert "cannot be imported (ImportError: libcudnn.so.9: cannot open)" in ran.stderr
    assert "PIP_EXTRA_INDEX_URL=" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert not (tmp_path / ".cache/replayproxy/real-vllm/installed").exists()


def test_what_is_whole_stays(tmp_path: Path) -> None:
    """A second run asks pip for nothing."""
    _, first = installed(tmp_path, REGISTRYS="yes")
    ran, again = installed(tmp_path, REGISTRYS="yes")
    assert ran.returncode == 0
    assert again == first


@pytest.mark.parametrize("name", ["record", "replay", "record-pair"])
def test_without_replayproxy_one_sentence_says_what_to_do(tmp_path: Path, name: str) -> None:
    """A copy of the folder, with nothing installed."""
    script = tmp_path / "examples" / "real-vllm" / name
    script.parent.mkdir(parents=True)
    script.write_text((INSTALL.with_name(name)).read_text("utf-8"))
    ran = subprocess.run(
        ["/bin/bash", script], env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 1
    assert "make demo" in ran.stderr
