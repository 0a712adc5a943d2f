"""Names by which a port may be called, and origins of pages."""

from __future__ import annotations

import pytest

from replayproxy.admin.hosts import host_name, is_address, is_foreign, is_loopback, is_welcome

NAMES = frozenset({"localhost", "replayproxy.svc"})


@pytest.mark.parametrize(
    ("host", "welcome"),
    [
        ("127.0.0.1:8081", True),
        ("[::1]:8081", True),
        ("LOCALHOST.", True),
        ("replayproxy.svc:1", True),
        ("evil.example", False),
        ("127.0.0.1.nip.io", False),
        ("2130706433", False),
        ("", False),
    ],
)
def test_addresses_and_allowed_names_are_welcome(host: str, welcome: bool) -> None:
    """An address cannot be rebound."""
    assert is_welcome(host, NAMES) is welcome


def test_a_name_is_read_as_a_browser_sends_it() -> None:
    """Without port, brackets and the final dot."""
    assert [host_name(host) for host in ("A.b.:80", "[::1]:80", "x")] == ["a.b", "::1", "x"]
    assert is_address("::1")
    assert not is_address("localhost")


@pytest.mark.parametrize(
    ("origin", "foreign"),
    [(None, False), ("http://a:1", False), ("http://a:2", True), ("null", True), ("https://evil.example", True)],
)
def test_an_origin_is_foreign_unless_it_is_the_port_itself(origin: str | None, foreign: bool) -> None:
    """A request without one is no page's."""
    assert is_foreign(origin, "a:1") is foreign


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_is_this_machine_only(host: str) -> None:
    """No token is needed there."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "host", ""])  # noqa: S104  nothing is bound
def test_every_other_address_can_be_reached(host: str) -> None:
    """A token is needed there."""
    assert not is_loopback(host)
