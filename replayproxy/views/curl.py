"""A recorded request as a command for a shell.

Text is quoted for POSIX shells. A body or a field with control characters would take over a terminal that it is
printed on, so such a body goes through `base64`, and such a field is left out: no stored field has one.
"""

from __future__ import annotations

import base64
import shlex
from urllib.parse import quote

from replayproxy.model import Request

NOT_SENT = frozenset({"content-length", "accept-encoding", "host"})
"""Fields that curl sends by itself, or that would bring an answer that a terminal cannot show."""


def curl_command(request: Request, base_url: str) -> str:
    """Return the command that sends a request to the server at `base_url`; parts are on lines of their own."""
    # A target is bytes, one per character; those beyond ASCII are sent in percent codes.
    target = quote(request.target, safe="".join(map(chr, range(33, 127))), encoding="latin-1")
    parts = [f"curl --no-buffer {shlex.quote(base_url.rstrip('/') + target)}"]
    if request.method != ("POST" if request.body else "GET"):
        parts.append(f"--request {shlex.quote(request.method)}")
    for name, value in request.headers:
        if name.lower() not in NOT_SENT and _is_plain(value):
            parts.append(f"--header {shlex.quote(f'{name}: {value}')}")
    text = _plain_text(request.body)
    if not request.body:
        pass
    elif text is not None:
        # `--data` would leave line ends out, and read a file where the body begins with @.
        parts.append(f"--data-binary {shlex.quote(text)}" if not text.startswith("@") else "--data-binary @-")
    else:
        parts.append("--data-binary @-")
    command = " \\\n  ".join(parts)
    if request.body and (text is None or text.startswith("@")):
        return f"printf %s {base64.b64encode(request.body).decode()} | base64 -d | {command}"
    return command


def _plain_text(body: bytes) -> str | None:
    """The body if it is text that a shell and a terminal can take; else None."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return text if all(_is_plain(line) for line in text.split("\n")) else None


def _is_plain(text: str) -> bool:
    return text.isprintable() or text.replace("\t", "").isprintable()
