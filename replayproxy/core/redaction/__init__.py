"""Requests and answers without their secrets, at equal length: the same function before keying and before disk.

    masks         what stands where a secret stood, and how it is known again
    credentials   what a request carries to be let in
    shapes        what keys look like
    rules         what the user says is secret
    spelling      one text under another: JSON escapes, percent codes
    finding       where secrets are in a text
    deltas        what the events of an answer say together
    veil          the same over an answer that comes in chunks
    redactor      all of it together

Begin with `redactor`. Nothing here knows a cassette, a socket or a log.
"""

from __future__ import annotations

from replayproxy.core.redaction.redactor import SALT_BYTES, Redactor
from replayproxy.core.redaction.rules import path_to
from replayproxy.core.redaction.stream_redactor import StreamRedactor, Trace

__all__ = ["SALT_BYTES", "Redactor", "StreamRedactor", "Trace", "path_to"]
