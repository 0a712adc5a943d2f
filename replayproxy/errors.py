"""Errors, by who is to blame: the client, the server, the cassette, the settings.

Each message has three parts: what happened, with which thing, what to do now. Foreign exceptions are mapped to these
in the package that meets them; nothing here knows a library.
"""

from __future__ import annotations

import errno
import re
import traceback
from collections.abc import Callable

Spelling = Callable[[str, str], str]
"""Spells a setting as an entry point has it: its name, and a value or nothing."""

_SETTING = re.compile(r"\0([a-z_]+)=(.*?)\0", re.DOTALL)


def setting(name: str, value: object = "") -> str:
    """A setting, with a value if there is one, for the message of an error: `str` of the error spells it."""
    return f"\0{name}={value}\0"


def as_flag(name: str, value: str) -> str:
    """`--on-miss forward`, as on the command line."""
    return f"--{name.replace('_', '-')}{' ' if value else ''}{value}"


def as_keyword(name: str, value: str) -> str:
    """`on_miss='forward'`, as in Python."""
    is_literal = value[:1] in ("'", '"') or value.replace(".", "", 1).isdecimal()
    return f"{name}={value if is_literal else repr(value)}" if value else name


class ReplayProxyError(Exception):
    """An error that this package raises. `status` and `code` are what a client gets, if a client gets the error.

    A message names settings by `setting`. `str` spells them as flags; an entry point that has other names for them
    sets `spelling`.
    """

    status = 500
    code = "internal_error"
    spelling: Spelling = staticmethod(as_flag)

    def __init__(self, message: str, *, status: int | None = None, code: str | None = None) -> None:
        super().__init__(message)
        if status is not None:
            self.status = status
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return _SETTING.sub(lambda found: self.spelling(found[1], found[2]), super().__str__())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class ClientError(ReplayProxyError):
    """The client asked for something we cannot take."""

    status = 400
    code = "bad_request"


class BadAnswer(ReplayProxyError):
    """An answer that breaks the rules of HTTP, from a cassette or a simulator: nothing of it is sent."""

    status = 502
    code = "bad_answer"


class UpstreamError(ReplayProxyError):
    """The server behind us failed before its answer had begun."""

    status = 502
    code = "upstream_error"


class UpstreamUnreachable(UpstreamError):
    """No server accepted the connection."""

    code = "upstream_unreachable"


class UpstreamGarbled(UpstreamError):
    """The connection ended, or what came was not HTTP, before the head was complete."""

    code = "upstream_garbled"


class UpstreamTimeout(UpstreamError):
    """Silent for too long."""

    status = 504
    code = "upstream_timeout"


class CassetteError(ReplayProxyError):
    """A file that cannot be used as a cassette."""

    exit_code = 2


class NotACassette(CassetteError):
    """Missing, or not one of ours."""


class NewerFormat(CassetteError):
    """Written by a later version."""


class OlderFormat(CassetteError):
    """Written by an earlier version: it can be read, but not written to."""


class Locked(CassetteError):
    """Another process records on it."""


class Damaged(CassetteError):
    """Ours, but its content is not what was written."""

    exit_code = 6


class NoSuchExchange(ReplayProxyError, LookupError):
    """No exchange has this id, or several ids begin so."""


class SettingsError(ReplayProxyError):
    """An option, a key of the config file or an environment variable that makes no sense."""


def where_raised(error: BaseException) -> str:
    """The traceback of an error and of those before it, without their words, which may quote a request."""
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(parts) < 10:
        number = f" ({errno.errorcode.get(seen.errno, seen.errno)})" if isinstance(seen, OSError) and seen.errno else ""
        parts.append("".join(traceback.format_tb(seen.__traceback__)) + type(seen).__name__ + number)
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "\nafter:\n".join(parts)
