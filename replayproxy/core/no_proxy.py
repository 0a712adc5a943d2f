"""`NO_PROXY` and `no_proxy`: which hosts a company's HTTP proxy is not asked for.

There is no standard. curl, wget, Python and Ruby prefer the name in lower case, Go and Node's the one in upper case; so
where both are set and differ, each of them is right for somebody, and both have to go on being so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

NAMES = ("NO_PROXY", "no_proxy")

LOCAL = ("127.0.0.1", "localhost")
"""Hosts of this machine, of which no proxy knows anything."""


def no_proxy_for(variables: Mapping[str, str], hosts: Sequence[str] = LOCAL) -> dict[str, str]:
    """Both variables, each with what it says now and these hosts; one that is not set says what the other one does."""
    values = [variables.get(name, "").strip() for name in NAMES]
    return {name: _with(value or other, hosts) for name, value, other in zip(NAMES, values, values[::-1], strict=True)}


def _with(value: str, hosts: Sequence[str]) -> str:
    listed = [host.strip() for host in value.split(",") if host.strip()]
    if "*" in listed:
        return "*"  # every host; curl and urllib know it only where it stands alone
    return ",".join([*listed, *(host for host in hosts if host not in listed)])
