r"""Nothing that a cassette holds may move somebody's cursor: control characters become visible escapes.

A recorded prompt, answer, model name or header is a stranger's text. Printed raw it could repaint the screen (ESC [),
set the clipboard (OSC 52), rename the window, answer questions the terminal was never asked, or turn the reading order
of a line round (CVE-2021-42574). All C0 and C1 codes, bidirectional controls, line separators, invisible spaces and tag
characters are therefore written as `\x1b`, `\u202e`, `\U000e0041`. What joins emoji and letters (U+200C, U+200D) stays.
"""

from __future__ import annotations

import re

_CONTROLS = (
    "\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # turn the reading order
    "\u2028\u2029"  # end a line
    "\u200b\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb"  # cannot be seen
    "\ud800-\udfff"  # are no characters
    "\U000e0000-\U000e007f"  # spell hidden words
)
_ALL = re.compile(f"[{_CONTROLS}]")
_BUT_LAYOUT = re.compile(f"(?![\n\t])[{_CONTROLS}]")


def visible(text: str) -> str:
    """One line that moves nothing: line feeds and tabs are escaped too."""
    return _ALL.sub(_escape, text)


def visible_lines(text: str) -> str:
    """Text that keeps its line feeds and tabs, and moves nothing else."""
    return _BUT_LAYOUT.sub(_escape, text)


def visible_json(document: str) -> str:
    """The same JSON, spelled without raw control characters: where they can stand, inside strings, JSON has escapes."""
    return _BUT_LAYOUT.sub(_json_escape, document)


def _escape(found: re.Match[str]) -> str:
    cached = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}.get(found[0])
    code = ord(found[0])
    return cached or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
