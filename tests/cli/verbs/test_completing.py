"""Tests of `replayproxy completion`: scripts that shells accept, installed where they look, once."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.tapes import Read
from tests.processes import environment

PLACES = {
    "bash": ".local/share/bash-completion/completions/replayproxy",
    "zsh": ".local/share/replayproxy/completion.zsh",
    "fish": ".config/fish/completions/replayproxy.fish",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own."""
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("shell", PLACES)
def test_a_script_is_printed(read: Read, shell: str) -> None:
    """It asks the program; a shell that is here takes it."""
    ran = read("completion", shell)
    assert ran.code == 0
    assert f"_REPLAYPROXY_COMPLETE={shell}_complete" in ran.out
    if found := shutil.which(shell):
        subprocess.run([found, "-n"], input=ran.out, text=True, check=True, env=environment(), timeout=20)


@pytest.mark.parametrize(("shell", "place"), PLACES.items())
def test_it_is_installed_where_the_shell_looks(read: Read, home: Path, shell: str, place: str) -> None:
    """Twice does no harm; .zshrc has one line, behind what was there."""
    (home / ".zshrc").write_text("setopt autocd")
    for _ in range(2):
        ran = read("completion", shell, "--install")
        assert (ran.code, f"{home / place}: written" in ran.err) == (0, True)
    assert (home / place).read_text() == read("completion", shell).out
    lines = (home / ".zshrc").read_text().splitlines()
    assert lines[0] == "setopt autocd"
    assert len(lines) == (2 if shell == "zsh" else 1)


def test_the_shell_of_the_user(read: Read, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By $SHELL; another one is a mistake that names the choices."""
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert "fish_complete" in read("completion").out
    monkeypatch.setenv("SHELL", "/bin/ksh")
    ran = read("completion", "--install")
    assert (ran.code, "name one of bash, zsh, fish" in ran.err) == (2, True)
