"""Tests that may not leave the machine do not; what they wanted to reach is named."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from replayproxy.pytest_plugin.network import Guard, NetworkBlocked
from tests.plugin.suites import Suite

BLOCK = "--replayproxy-block-network"
OUTSIDE = "192.0.2.1"  # RFC 5737: nobody's

REACHES = f"""
import socket

def test_reaches():
    with socket.socket() as out:
        out.settimeout(0.001)
        out.connect(("{OUTSIDE}", 80))
"""


@pytest.mark.parametrize("how", ["option", "ini", "marker"])
def test_a_connection_outward_is_refused_by_name(suite: Suite, how: str) -> None:
    """For all tests, or for one."""
    marker = "pytestmark = pytest.mark.replayproxy_block_network\n" if how == "marker" else ""
    suite.tests(test_out=marker + REACHES)
    flags = {"option": (BLOCK,), "ini": ("--override-ini", "replayproxy_block_network=true"), "marker": ()}[how]
    ran = suite.run(*flags)
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines([f"*NetworkBlocked: replayproxy: this test may not leave *{OUTSIDE}:80*"])


@pytest.mark.parametrize(
    ("flags", "marker"),
    [
        ((BLOCK, "--replayproxy-allowed-hosts", f"example.com,{OUTSIDE}"), ""),
        ((BLOCK, "--override-ini", f"replayproxy_allowed_hosts={OUTSIDE}"), ""),
        ((BLOCK,), f"pytestmark = pytest.mark.replayproxy_block_network(allowed=['{OUTSIDE}'])\n"),
        ((), ""),
        ((BLOCK, "--disable-replayproxy"), ""),
    ],
)
def test_what_is_allowed_is_tried(suite: Suite, flags: tuple[str, ...], marker: str) -> None:
    """It then fails as the network wills."""
    suite.tests(test_out=marker + REACHES)
    ran = suite.run(*flags)
    ran.assert_outcomes(failed=1)
    assert "NetworkBlocked" not in ran.stdout.str()


def test_the_proxy_itself_may_record(suite: Suite, upstream: str) -> None:
    """What a test asks for goes through the proxy, which may leave; and this machine is never blocked."""
    suite.tests(test_chat='def test_asks(replayproxy): assert ask(replayproxy.base_url, "a")[0] == 200')
    record = ("--replayproxy-mode", "once", "--replayproxy-upstream", upstream)
    suite.run(BLOCK, *record).assert_outcomes(passed=1)
    suite.run(BLOCK).assert_outcomes(passed=1)


def test_a_swallowing_client_is_not_told_to_try_again(suite: Suite) -> None:
    """The error is none that an HTTP client takes for bad luck."""
    assert not issubclass(NetworkBlocked, OSError)


ADDRESSES = [
    ("127.0.0.1", True),
    ("127.8.9.1", True),
    ("::1", True),
    ("localhost", True),
    ("api.localhost", True),
    ("", True),
    ("0.0.0.0", True),  # noqa: S104  asked for, not bound
    ("example.com", False),
    ("192.0.2.7", False),
    ("2001:db8::1", False),
    ("fe80::1%eth0", False),
    ("db.test", True),
    ("DB.test", True),
    ("db.test.example", False),
]


@pytest.mark.parametrize(("host", "reached"), ADDRESSES)
def test_which_addresses_are_this_machine(host: str, reached: bool) -> None:
    """And which patterns match. Nothing is looked up: the hook comes before."""
    guard = Guard()
    with guard.armed(["*.test"]):
        if reached:
            guard._on_audit_event("socket.getaddrinfo", (host, 80))
        else:
            with pytest.raises(NetworkBlocked, match=f"wanted to reach {host}"):
                guard._on_audit_event("socket.getaddrinfo", (host, 80))


def test_one_thread_may_go_anywhere() -> None:
    """The one in which the proxies live."""
    guard = Guard()
    with guard.armed([]):
        guard.exempt_threads = {threading.get_ident()}
        guard._on_audit_event("socket.connect", (None, (OUTSIDE, 80)))
        with ThreadPoolExecutor(1) as pool, pytest.raises(NetworkBlocked):
            pool.submit(guard._on_audit_event, "socket.connect", (None, (OUTSIDE, 80))).result()


def test_an_allowed_name_is_allowed_by_its_addresses_too() -> None:
    """Clients look a name up first and then connect to what they found."""
    guard = Guard()
    with guard.armed(["localhost", "db.test"]):
        guard._addresses["db.test"] = frozenset({"192.0.2.9"})
        guard._on_audit_event("socket.connect", (None, ("192.0.2.9", 5432)))
        with pytest.raises(NetworkBlocked):
            guard._on_audit_event("socket.connect", (None, (OUTSIDE, 5432)))


def test_sockets_of_other_kinds_are_let_be() -> None:
    """Unix sockets, and datagrams on this machine; datagrams outward are seen too."""
    guard = Guard()
    with guard.armed([]):
        guard._on_audit_event("socket.connect", (None, "/run/some.sock"))
        guard._on_audit_event("socket.connect", (None, b"/run/some.sock"))
        guard._on_audit_event("socket.connect", (None, (16, 0)))
        guard._on_audit_event("socket.bind", (None, (OUTSIDE, 80)))
        with socket.socket(type=socket.SOCK_DGRAM) as out, pytest.raises(NetworkBlocked, match=f"{OUTSIDE}:53"):
            out.sendto(b"", (OUTSIDE, 53))
    guard._on_audit_event("socket.connect", (None, (OUTSIDE, 80)))
