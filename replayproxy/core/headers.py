"""Which field lines go through us, and which of them a cassette may hold.

End-to-end fields pass unchanged; hop-by-hop ones belong to one connection and stop here (RFC 9110 §7.6.1). Of requests
a cassette holds an allow-list: a deny-list misses the next vendor's `Api-Key`. Of answers it holds all but a deny-list:
a client may need any of them (`WWW-Authenticate`, `Link`, `Mcp-Session-Id`), and servers rarely hand out credentials.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

from replayproxy.errors import SettingsError, setting
from replayproxy.model import Exchange, Headers, Request, Response

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

NEVER_NOMINATED = frozenset({"connection", "content-length", "expect", "host", "trailer", "transfer-encoding"})
"""Fields that `Connection` cannot make hop-by-hop: they say where a message ends, or to whom it goes. A request that
tries is refused; in an answer the option is ignored."""

_FRAMING = frozenset({"content-encoding", "content-length", "content-type"})

STORED_OF_REQUESTS = frozenset(
    {
        "accept",
        "accept-encoding",
        "anthropic-beta",
        "anthropic-version",
        "content-encoding",
        "content-length",
        "content-type",
        "openai-beta",
        "user-agent",
        "x-replayproxy-source",
        "x-request-id",
    }
)

NOT_STORED_OF_ANSWERS = frozenset(
    {
        "alt-svc",  # leads clients from the replay to another port of the recorded server
        "authentication-info",  # RFC 7615: holds the nonce that lets the next request in
        "date",  # of this answer, not of the recorded one
        "proxy-authentication-info",
    }
)
"""Fields of answers that are not stored, besides the hop-by-hop ones and those that hand out credentials by name."""

# Not `session` in Mcp-Session-Id: without it no client of MCP can be replayed, and MCP forbids to authenticate by it.
# Not `token` in names that count tokens (X-Prompt-Token-Count), nor `key` alone (Surrogate-Key).
_HANDS_OUT_CREDENTIALS = re.compile(
    r"(?:^|[-_])(?:"
    r"[a-z]*(?:api|access|secret|private|subscription|auth|session|account|license|functions)[-_]?key"
    r"|(?:[a-z]*)token(?![-_]?(?:s|count|counts|limit|limits|usage|used|budget|rate|latency|time)(?:$|[-_]))"
    r"|authorization|auth|secret|password|passwd|pwd|passphrase|credentials?|cookie2?|csrf|xsrf|jwt|assertion|otp"
    r"|(?<!mcp-)session(?:[-_]?id)?"
    r")(?:$|[-_])"
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
NOT_STORED_IN_WORDS = (
    "Set-Cookie, Authentication-Info, Proxy-Authentication-Info, Date, Alt-Svc, hop-by-hop fields, and whatever is"
    " called an API key, token, secret, password, credential, cookie, session, JWT or authorization"
)
"""What people read in the documentation and in `record --help`."""


def get(headers: Headers, name: str) -> str | None:
    """The first value of a field, or None. `name` in lower case."""
    for field, value in headers:
        if field.lower() == name:
            return value
    return None


def is_event_stream(headers: Headers) -> bool:
    """Whether an answer with these fields is a stream of server-sent events."""
    return (get(headers, "content-type") or "").partition(";")[0].strip().lower() == "text/event-stream"


def without(headers: Headers, *names: str) -> Headers:
    """All field lines but these. `names` in lower case."""
    return tuple(line for line in headers if line[0].lower() not in names)


def end_to_end(headers: Headers) -> Headers:
    """The field lines that a proxy passes on: not hop-by-hop, and not named by `Connection`."""
    stop = HOP_BY_HOP
    named = [value for field, value in headers if field.lower() == "connection"]
    if named:
        options = {option.strip().lower() for value in named for option in value.split(",")}
        stop = stop | (options - NEVER_NOMINATED)
    return tuple(line for line in headers if line[0].lower() not in stop)


@lru_cache(1024)
def hands_out_credentials(name: str) -> bool:
    """Whether an answer's field of this name, in any case, may hold what lets a later request in."""
    return _HANDS_OUT_CREDENTIALS.search(name.lower()) is not None


@dataclass(frozen=True, slots=True)
class StoredFields:
    """Which fields a cassette may hold: the built-in lists, and what `--keep-header` and `--drop-header` change.

    Raises `SettingsError` for a name that is not one, or that can be neither kept nor dropped.
    """

    keep: frozenset[str] = frozenset()
    """Lower case. Also stored, of requests and of answers; their credentials are masked."""
    drop: frozenset[str] = frozenset()
    """Lower case. Not stored, neither of requests nor of answers."""

    @classmethod
    def of(cls, keep: Collection[str] = (), drop: Collection[str] = ()) -> Self:
        """From what the options say."""
        return cls(*(frozenset(name.strip().lower() for name in names) for names in (keep, drop)))

    def __post_init__(self) -> None:
        for option, names in (("keep_header", self.keep), ("drop_header", self.drop)):
            for name in names:
                if not _TOKEN.fullmatch(name):
                    raise SettingsError(
                        f"{setting(option, repr(name))} is not the name of a header field: write"
                        f" {setting(option, 'Mcp-Session-Id')}"
                    )
        if both := sorted(self.keep & self.drop):
            raise SettingsError(
                f"{setting('keep_header')} and {setting('drop_header')} both name {', '.join(both)}: give one of them"
            )
        if never := sorted(self.keep & HOP_BY_HOP):
            raise SettingsError(
                f"{setting('keep_header', never[0])}: the field belongs to one connection and is neither"
                " passed on nor replayed"
            )
        if framing := sorted(self.drop & _FRAMING):
            raise SettingsError(
                f"{setting('drop_header', framing[0])}: without the field nobody can tell how to read the"
                " body; leave it stored"
            )

    def of_request(self, headers: Headers, also: Collection[str] = ()) -> Headers:
        """The field lines of a request that a cassette may hold. `also` names those that its match rules compare."""
        return tuple(
            line
            for line in headers
            if (name := line[0].lower()) not in self.drop
            and (name in STORED_OF_REQUESTS or name in self.keep or name in also)
        )

    def of_answer(self, headers: Headers) -> Headers:
        """The field lines of an answer that a cassette may hold, and that a replay gives back."""
        return tuple(line for line in headers if self._stores(line[0].lower()))

    def of_exchange(self, exchange: Exchange, also: Collection[str] = ()) -> Exchange:
        """Return an exchange and its legs with the field lines that a cassette may hold. `also` as in `of_request`."""
        legs = tuple(
            replace(leg, request=self._stored_request(leg.request, also), response=self._stored_answer(leg.response))
            for leg in exchange.legs
        )
        request, response = self._stored_request(exchange.request, also), self._stored_answer(exchange.response)
        return replace(exchange, request=request, response=response, legs=legs)

    def _stored_request(self, request: Request, also: Collection[str]) -> Request:
        return replace(request, headers=self.of_request(request.headers, also))

    def _stored_answer(self, response: Response) -> Response:
        return replace(response, headers=self.of_answer(response.headers))

    def left_out(self, headers: Headers) -> tuple[str, ...]:
        """The names, in lower case, of the end-to-end fields of an answer that a cassette may not hold, each once."""
        names = dict.fromkeys(line[0].lower() for line in headers)
        return tuple(name for name in names if name not in HOP_BY_HOP and not self._stores(name))

    def _stores(self, name: str) -> bool:
        if name in HOP_BY_HOP or name in self.drop:
            return False
        return name in self.keep or (name not in NOT_STORED_OF_ANSWERS and not hands_out_credentials(name))


STORED = StoredFields()
"""The default."""
