"""The folders of `examples/` as a user meets them: a copy to work in, `replayproxy` on the PATH, a README's commands.

    folder = copied("shell", tmp_path)
    ran = shell(commands("shell")[0], folder)           ran.returncode, ran.stdout, ran.stderr

A README's commands are its indented blocks. Knows bash; nothing of what an example is about.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import click

from replayproxy.cli.main import commands as verbs
from tests import processes
from tests.forked import on_path
from tests.processes import environment
from tests.unused_ports import unused_port

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
VERBS = {command.name or "": command for command in verbs()}

PATIENCE = 60.0
"""Seconds for a command: none of these takes five."""


def readme(name: str) -> str:
    """What an example says of itself."""
    return (EXAMPLES / name / "README.md").read_text()


def copied(name: str, to: Path) -> Path:
    """A copy of an example, without what running it leaves behind."""
    left = shutil.ignore_patterns("__pycache__", ".pytest_cache", "node_modules")
    return shutil.copytree(EXAMPLES / name, to / name, ignore=left)


def commands(name: str) -> list[str]:
    """The indented blocks of a README, each as it would be pasted."""
    blocks = re.findall(r"(?:^    .*\n)(?:(?:    .*)?\n(?=    |\n))*(?:^    .*\n)*", readme(name), re.MULTILINE)
    return ["".join(line.removeprefix("    ") + "\n" for line in block.rstrip().splitlines()) for block in blocks]


def ours(script: str) -> Iterator[list[str]]:
    """The arguments of each `replayproxy …` in a shell script, without what the shell makes of its other words."""
    for line in re.findall(r"^replayproxy .+", script.replace("\\\n", " "), re.MULTILINE):
        words = shlex.split(line.partition("   ")[0], comments=True)  # wide space, and then a remark
        yield words[1:-1] if words[-1] == "&" else words[1:]


def understood(words: list[str]) -> None:
    """The command line takes these words. Raises `click.UsageError` and its like; nothing is run."""
    if words[0] == "--config":
        words = [*words[2:], "--upstream", "http://127.0.0.1:8000"]
    verb = VERBS[words[0]]
    if isinstance(verb, click.Group):
        verb, words = verb.commands[words[1]], words[1:]
    verb.make_context(words[0], words[1:])


def shell(script: str, folder: Path, *first: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A script in a folder, to its end, as if pasted. `replayproxy` is found, and before it what is in `first`."""
    forked = [str(on_path())] if processes.FORKS else []
    path = os.pathsep.join([*map(str, first), *forked, sysconfig.get_path("scripts"), os.environ["PATH"]])
    known = {name: value for name, value in environment().items() if not name.startswith(("GITHUB_", "OPENAI_"))}
    return subprocess.run(
        ["bash", "-c", script],  # noqa: S607  the one on the PATH, as for a user
        cwd=folder,
        env={**known, "PATH": path, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def elsewhere(script: str, *ports: int) -> str:
    """The same script on free ports instead of these: something may listen there already."""
    for port in ports:
        script = re.sub(rf"\b{port}\b", str(unused_port()), script)
    return script
