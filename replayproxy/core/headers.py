"""Which field lines go through us, and which of them a cassette may hold.

End-to-end fields pass unchanged; hop-by-hop ones belong to one connection and stop here (RFC 9110 §7.6.1). A cassette
holds an allow-list: a deny-list misses the next vendor's `Api-Key`.
"""

from __future__ import annotations

from collections.abc import Collection

from replayproxy.model import Headers

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
        "x-request-id",
    }
)

STORED_OF_ANSWERS = frozenset(
    {
        "accept-ranges",
        "allow",
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-length",
        "content-range",
        "content-type",
        "etag",
        "last-modified",
        "location",
        "openai-model",
        "openai-processing-ms",
        "openai-version",
        "request-id",
        "retry-after",
        "retry-after-ms",
        "server",
        "vary",
        "x-accel-buffering",
        "x-request-id",
        "x-should-retry",
    }
)
STORED_PREFIXES_OF_ANSWERS = ("access-control-", "x-ratelimit-", "anthropic-ratelimit-")


def get(headers: Headers, name: str) -> str | None:
    """The first value of a field, or None. `name` in lower case."""
    for field, value in headers:
        if field.lower() == name:
            return value
    return None


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


def stored_of_request(headers: Headers, also: Collection[str] = ()) -> Headers:
    """The field lines of a request that a cassette may hold. `also` names those that its match rules compare."""
    return tuple(line for line in headers if (name := line[0].lower()) in STORED_OF_REQUESTS or name in also)


def stored_of_answer(headers: Headers) -> Headers:
    """The field lines of an answer that a cassette may hold, and that a replay gives back."""
    return tuple(
        line
        for line in headers
        if line[0].lower() in STORED_OF_ANSWERS or line[0].lower().startswith(STORED_PREFIXES_OF_ANSWERS)
    )
