"""Field lines that the proxy sets on each request to the live server: a gateway's key that no client needs to know.

Authorization=@GATEWAY_KEY      the value is that of an environment variable, so that no list of processes shows it
X-Team=search                   the value itself
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from replayproxy.core.headers import HOP_BY_HOP, without
from replayproxy.model import Headers

# RFC 9110 5.6.2: the characters of a field's name.
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

# RFC 9110 5.5: a value has no control characters but tabs. A line feed would begin another field.
_NOT_IN_VALUES = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

_OURS = HOP_BY_HOP | {"content-length", "content-encoding", "content-type", "expect", "host"}
"""What belongs to one connection or to the message itself: framing and routing are decided by the proxy."""


class BadField(ValueError):
    """A text that names no field which can be set; its own text says why."""


def fields_of(texts: Sequence[str], environment: Mapping[str, str]) -> Headers:
    """Return the field lines of texts like `NAME=VALUE` and `NAME=@VARIABLE`. Raises `BadField`, without the value."""
    fields: list[tuple[str, str]] = []
    for text in texts:
        name, mark, value = text.partition("=")
        name = name.strip()
        if not mark or not _NAME.fullmatch(name):
            raise BadField("is not NAME=VALUE or NAME=@VARIABLE: write Authorization=@GATEWAY_KEY, for example")
        if name.lower() in _OURS:
            raise BadField(f"cannot set {name}: the proxy decides it for each request")
        value = value.strip()
        if value.startswith("@"):
            variable = value[1:]
            if not environment.get(variable):
                raise BadField(f"takes {name} from ${variable}, which is not set: set it, or name another variable")
            value = environment[variable].strip()
        if _NOT_IN_VALUES.search(value) or not value.isascii():
            raise BadField(f"gives {name} a value with characters that no field may have (RFC 9110 5.5)")
        fields.append((name, value))
    return tuple(fields)


def with_fields(headers: Headers, fields: Headers) -> Headers:
    """Return a request's field lines with these, in the place of those of the same names."""
    if not fields:
        return headers
    return (*without(headers, *(name.lower() for name, _ in fields)), *fields)
