"""The variables that make clients talk to a proxy."""

from __future__ import annotations

from replayproxy.api.client_environment import client_environment


def test_the_addresses_are_those_of_the_proxy() -> None:
    """With `/v1` for the SDKs that do not add it."""
    environment = client_environment("http://127.0.0.1:1", {})
    assert {name: value for name, value in environment.items() if "URL" in name or "BASE" in name} == {
        "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
        "OPENAI_API_BASE": "http://127.0.0.1:1/v1",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:1",
        "REPLAYPROXY_URL": "http://127.0.0.1:1",
    }


def test_hosts_that_need_no_proxy_are_kept() -> None:
    """This machine is added to them."""
    environment = client_environment("http://127.0.0.1:1", {"NO_PROXY": "internal", "HTTP_PROXY": "http://proxy:3128"})
    assert environment["NO_PROXY"] == environment["no_proxy"] == "internal,127.0.0.1,localhost"
    assert "HTTP_PROXY" not in environment
