"""The environment variables that make LLM clients, in any language, talk to a proxy. Reads no environment itself."""

from __future__ import annotations

from collections.abc import Mapping

from replayproxy.core.no_proxy import no_proxy_for


def client_environment(url: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that SDKs read their base URL from, for a proxy at `url`.

    `environment` is what the client has otherwise: its `NO_PROXY` is kept and gets this machine's addresses as well.
    """
    urls = {
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_BASE": f"{url}/v1",
        "ANTHROPIC_BASE_URL": url,
        "REPLAYPROXY_URL": url,
    }
    # A company's HTTP proxy (HTTP_PROXY) does not know this machine's addresses, so SDKs must not go through it.
    return urls | no_proxy_for(environment)
