"""`completion`: the script by which a shell completes verbs, options and files; printed, or installed."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from replayproxy import output_files
from replayproxy.cli.options import plain_option
from replayproxy.cli.terminal import messages
from replayproxy.cli.terminal.screen import on_stdout
from replayproxy.errors import SettingsError

SHELLS = ("bash", "zsh", "fish")

VARIABLE = "_REPLAYPROXY_COMPLETE"

MARK = "# completion of replayproxy"


@click.command
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@plain_option("--install", is_flag=True, help="Write it where the shell finds it, instead of printing it.")
def completion(shell: str | None, install: bool) -> int:
    """Print the completion script for SHELL, or install it for this user. Without SHELL: the one of $SHELL.

    bash and fish load it from their own folder; for zsh a line is added to .zshrc, once.

    \b
    Examples:
      replayproxy completion --install
      replayproxy completion fish
    """
    name = shell or Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        raise click.UsageError(f"$SHELL is {name or 'not set'}: name one of {', '.join(SHELLS)}")
    if not install:
        on_stdout().text(_script(name))
        return 0
    path = _place(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{path.parent} cannot be created: {error.strerror}") from error
    output_files.write(path, _script(name).encode(), "--install")
    if name == "zsh":
        _load_in_zshrc(path)
    messages.info(f"{path}: written. Start a new shell, or type: source {path}")
    return 0


def _script(shell: str) -> str:
    """The script that click makes: the shell asks the program at each press of Tab."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    group = click.get_current_context().find_root().command
    return made(group, {}, "replayproxy", VARIABLE).source()


def _place(shell: str) -> Path:
    """Where the shell looks for it."""
    home = Path.home()
    if shell == "fish":
        return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "fish" / "completions" / "replayproxy.fish"
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    if shell == "bash":
        return data / "bash-completion" / "completions" / "replayproxy"
    return data / "replayproxy" / "completion.zsh"


def _load_in_zshrc(script: Path) -> None:
    """Add the line that loads it, unless it is there."""
    zshrc = Path(os.environ.get("ZDOTDIR") or Path.home()) / ".zshrc"
    line = f"source {shlex.quote(str(script))}  {MARK}\n"
    try:
        text = zshrc.read_text("utf-8") if zshrc.exists() else ""
        if MARK not in text:
            output_files.append(zshrc, (line if not text or text.endswith("\n") else "\n" + line).encode(), "--install")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{zshrc} cannot be changed ({error}): add to it yourself: {line.strip()}") from error
