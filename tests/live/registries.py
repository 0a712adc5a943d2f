"""What only some tests need, from npm's and pip's registries, kept in the user's cache from run to run.

That is why these tests are `live`: `make test` needs no network. A folder is made once for the contents of its recipe,
beside its place, and moved there whole.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

CACHE = Path.home() / ".cache" / "replayproxy" / "examples"
EXAMPLES = Path(__file__).parents[2] / "examples"

PATIENCE = 600.0
"""Seconds for an installation: a dozen where the registry is near."""

LAST_WORDS = 3000


def kept(name: str, recipe: Path, make: Callable[[Path], None]) -> Path:
    """The folder that was made by this recipe, or is made now."""
    folder = CACHE / f"{name}-{hashlib.blake2b(recipe.read_bytes(), digest_size=8).hexdigest()}"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as part:
            made = Path(part) / name
            made.mkdir()
            make(made)
            with suppress(OSError):  # another run was quicker
                made.rename(folder)
    return folder


AXE = Path(__file__).with_name("axe")
"""axe-core, which looks for what keeps people from using a page. Only tests need it."""


def node_modules(folder: Path = EXAMPLES / "node") -> Path:
    """What `npm ci` installs for a folder, the openai package or axe-core. Skips where no Node or no registry is."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no Node on this machine: install Node 20 or newer, with npm")

    def npm_ci(place: Path) -> None:
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(folder / name, place)
        code, said = _ran(place, "npm", "ci", "--no-audit", "--no-fund")
        if code and _ran(place, "npm", "ping", "--fetch-retries=0", "--fetch-timeout=10000")[0]:
            pytest.skip("npm's registry is not reached from this machine: `npm ping` fails")
        assert code == 0, f"npm ci failed:\n{said}"

    return kept(folder.name, folder / "package-lock.json", npm_ci) / "node_modules"


def site_packages(name: str, requirements: Path) -> Path:
    """What pip installs for a whole list of exact versions, in a folder of its own for PYTHONPATH."""

    def pip(folder: Path) -> None:
        flags = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile", "--target", str(folder))
        code, said = _ran(folder, sys.executable, "-m", "pip", "install", *flags, "-r", str(requirements))
        assert code == 0, f"pip install -r {requirements} failed:\n{said}"

    version = ".".join(map(str, sys.version_info[:2]))
    return kept(f"{name}-{version}", requirements, pip)


def _ran(folder: Path, *command: str) -> tuple[int, str]:
    """Exit code and last words."""
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return ran.returncode, (ran.stdout + ran.stderr)[-LAST_WORDS:]
