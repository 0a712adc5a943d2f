"""Remove secrets from requests and answers at equal length: the same function before keying and before storing.

    masks             what replaces a secret, and how it is recognised
    credentials       the credentials of a request and their encodings
    key_patterns      patterns of API keys and tokens
    rules             redaction rules of the user
    escapes           JSON escapes and percent codes, undone with a way back to the source
    detector          the secrets of one text
    event_text        the joined texts of an answer's events
    stream_redactor   an answer that arrives in chunks
    redactor          all of it together

Begin with `redactor`. Nothing here knows a cassette, a socket or a log.
"""

from __future__ import annotations

from replayproxy.core.redaction.redactor import SALT_BYTES, Redactor
from replayproxy.core.redaction.rules import path_to
from replayproxy.core.redaction.stream_redactor import StreamRedactor, Trace

__all__ = ["SALT_BYTES", "Redactor", "StreamRedactor", "Trace", "path_to"]
