"""By which names an HTTP port of ours may be called, and from which pages: against DNS rebinding and foreign pages.

A page can make its own host name resolve to this port, and then it has the same origin; but the browser still sends
that name as `Host`. An address cannot be rebound, and names that are allowed are ours.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_welcome(host: str, names: frozenset[str]) -> bool:
    """Whether a `Host` field has an IP address, or one of these names (in lower case)."""
    name = host_name(host)
    return is_address(name) or name in names


def is_foreign(origin: str | None, host: str) -> bool:
    """Whether an `Origin` field is there and is not that of the port itself."""
    return origin is not None and urlsplit(origin).netloc != host


def host_name(host: str) -> str:
    """Return the name in a `Host` field: without the port, in lower case, without the final dot of a full name."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().removesuffix(".")


def is_address(name: str) -> bool:
    """Whether it is an IP address as a browser writes it."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on this address or name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
