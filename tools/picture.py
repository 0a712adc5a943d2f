"""Draws the terminal picture of the README: runs real commands in a real shell, and draws what they print as SVG.

    python -m tools.picture [OUT.svg]        docs/assets/terminal.svg unless told; takes ten seconds

The commands are those of `SCENE`; `PREPARED` runs before them and is not drawn: it starts `replayproxy simulate` in the
place of a vLLM. Both run in one bash on a pseudo-terminal of `COLUMNS` columns, in a temporary folder. Nothing of the
picture is typed by hand. Knows bash, pseudo-terminals and rich; nothing of what replayproxy prints.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
import termios
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "assets" / "terminal.svg"
COLUMNS = 112
PATIENCE = 120.0
"""Seconds for the whole scene."""

PREPARED = """
echo '{"model": "tiny", "stream": true, "max_tokens": 40,
 "messages": [{"role": "user", "content": "Why is the sky blue?"}]}' > ask.json
echo '{"model": "tiny", "stream": true, "max_tokens": 40,
 "messages": [{"role": "user", "content": "Why is the sky green?"}]}' > new.json
echo 'silent' > ~/.curlrc
replayproxy simulate --model tiny --ttft 200ms --itl 20ms --jitter 0.2 > /dev/null 2>&1 &
simulator=$!
replayproxy wait http://127.0.0.1:8000
"""

SCENE = (
    "replayproxy record chat.cassette --upstream http://127.0.0.1:8000 --admin-port off &",
    "curl -N http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' -d @ask.json > live.sse",
    "kill $!; wait $!",
    "replayproxy show chat.cassette",
    "replayproxy replay chat.cassette --speed 1 --admin-port off &",
    "curl -N http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' -d @ask.json > again.sse",
    "cmp live.sse again.sse && echo every byte is the same",
    "curl -o miss.json http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' -d @new.json",
    "kill $!; wait $!",
)
"""A command that ends in `&` is waited for until its server answers."""

RED, GREEN, YELLOW, BLUE = (240, 113, 120), (140, 190, 120), (229, 192, 123), (97, 175, 239)
PURPLE, CYAN, LIGHT, DARK = (198, 120, 221), (86, 182, 194), (215, 218, 224), (24, 26, 31)
COLOURS = [RED, GREEN, YELLOW, BLUE, PURPLE, CYAN]
THEME = TerminalTheme(DARK, LIGHT, [(63, 68, 81), *COLOURS, LIGHT], [(110, 118, 135), *COLOURS, (255, 255, 255)])

FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<title>A terminal: replayproxy records a streamed chat, shows it, replays the same bytes, and explains a miss.</title>
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-family: system-ui, sans-serif; font-size: 16px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""rich's own template loads a font from a server; this one takes the reader's monospaced font."""


def script(scene: Sequence[str] = SCENE, prepared: str = PREPARED) -> str:
    """The scene as bash runs it: each command is printed behind a prompt, then run."""
    steps = [prepared]
    for command in scene:
        steps.append(f"printf '\\033[1;32m$\\033[0m %s\\n' {_quoted(command)}")
        steps.append(command)
        if command.endswith("&"):
            steps.append("replayproxy wait http://127.0.0.1:8080")
    return "\n".join([*steps, "kill $simulator"])


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def output(folder: Path, words: str, *first: str) -> str:
    """What a terminal is sent while bash runs these words in a folder, colours included. `first` is on the PATH too."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, COLUMNS, 0, 0))
    path = os.pathsep.join([*first, sysconfig.get_path("scripts"), os.environ["PATH"]])
    environment = {"PATH": path, "HOME": str(folder), "TERM": "xterm-256color", "LANG": "C.UTF-8", "NO_PROXY": "*"}
    process = subprocess.Popen(
        ["timeout", f"{PATIENCE:g}", "bash", "-c", words],  # a session of its own, which `timeout` ends as a whole
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    received = bytearray()
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux says EIO when the last process has closed the terminal
            break
        if not part:
            break
        received += part
    os.close(ours)
    if code := process.wait():
        sys.exit(f"the scene ended with {code}:\n{received.decode(errors='replace')}")
    return received.decode().replace("\r\n", "\n")


def svg(printed: str) -> str:
    """The picture of what a terminal was sent."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(printed.rstrip("\n")))
    drawn = console.export_svg(title="replayproxy", theme=THEME, code_format=FORMAT, unique_id="terminal")
    return re.sub(r"[ \t]+$", "", drawn, flags=re.MULTILINE)


def free(*ports: int) -> None:
    """Raise `SystemExit` if something listens on one of these ports: the picture has the ports of the README."""
    for port in ports:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                sys.exit(f"something listens on port {port}: end it, then draw the picture")


def main(arguments: list[str]) -> int:
    """Draw."""
    out = Path(arguments[0]) if arguments else PICTURE
    free(8000, 8080)
    with tempfile.TemporaryDirectory(prefix="replayproxy-") as folder:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(svg(output(Path(folder), script())), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
