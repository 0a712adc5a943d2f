"""The table of dialects. A new dialect is one file and one row.

An answer is read by all of them, not by its path: proxies mount them anywhere, and their fields do not collide. Only
the end of a stream depends on the path, because one dialect's last event may be another's ordinary event.
"""

from __future__ import annotations

from replayproxy.core.dialects.chat import CHAT
from replayproxy.core.dialects.completions import COMPLETIONS
from replayproxy.core.dialects.dialect import Dialect, Json, StreamEndRule, Usage
from replayproxy.core.dialects.messages import MESSAGES
from replayproxy.core.dialects.responses import RESPONSES

DIALECTS = (CHAT, COMPLETIONS, MESSAGES, RESPONSES)

OTHER = Dialect(
    "other",
    (),
    StreamEndRule(
        "an end",
        (
            *RESPONSES.end.types,
            *MESSAGES.end.types,
            *("response.done", "speech.audio.done", "transcript.text.done"),
            *("image_generation.completed", "image_edit.completed"),
        ),
        done=True,
        promised=False,
    ),
)
"""Any other endpoint, such as SGLang's `/generate` or `/audio/speech`. Its stream may end with any of these events."""

_USAGE_FIELDS = frozenset[str]().union(*(dialect.usage_fields for dialect in DIALECTS))


def dialect_of(path: str) -> Dialect:
    """Return the dialect by the last parts of the path, whatever precedes them and however many slashes there are."""
    parts = tuple(part for part in path.split("/") if part)
    return next((dialect for dialect in DIALECTS if parts[-len(dialect.path) :] == dialect.path), OTHER)


def text_in(value: Json) -> str:
    """Return the text that an event or body adds to the answer, reasoning and tool calls included."""
    return "".join([text for dialect in DIALECTS for text in dialect.text(value)])


def usage_in(value: Json) -> Usage:
    """Return the token counts in an event or body: per count the first dialect that states one."""
    if _USAGE_FIELDS.isdisjoint(value):  # most events of a stream: their dialects need not look
        return Usage()
    usages = [dialect.usage(value) for dialect in DIALECTS]
    return Usage(*(next((n for n in counts if n is not None), None) for counts in zip(*usages, strict=True)))


def finish_in(value: Json) -> str | None:
    """Return the finish reason in an event or body."""
    return next((reason for dialect in DIALECTS if (reason := dialect.finish(value)) is not None), None)
