"""What a cassette knows of its server."""

from __future__ import annotations

from typing import Any

import pytest

from replayproxy.core.server_facts import ServerFacts, describes_models
from replayproxy.model import Request

TINY = {"id": "tiny", "object": "model", "owned_by": "vllm", "max_model_len": 2048}


def test_what_was_asked_at_the_start_is_known() -> None:
    """As the server gave it, with its own fields."""
    meta = {"server_version": {"version": "0.32.0"}, "server_models": {"data": [TINY]}, "server_head": 405}
    assert ServerFacts.of_meta(meta) == ServerFacts({"version": "0.32.0"}, (TINY,), 405)


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"server_version": "0.32.0", "server_models": [TINY], "server_head": "405"},
        {"server_version": [], "server_models": {"data": {"id": "tiny"}}, "server_head": True},
        {"server_version": None, "server_models": {"data": [{"id": 3}, "tiny", None]}, "server_head": 99_999},
        {"server_models": {"object": "list"}, "server_head": 101},
    ],
)
def test_what_has_another_shape_is_not_known(meta: dict[str, Any]) -> None:
    """A cassette may come from a stranger."""
    assert ServerFacts.of_meta(meta) == ServerFacts()


def test_the_first_cassette_counts_and_models_add_up() -> None:
    """Two cassettes that are played together; and models that only occur in requests."""
    first = ServerFacts({"version": "1"}, (TINY,), None)
    second = ServerFacts({"version": "2"}, ({"id": "big"}, {"id": "tiny", "owned_by": "x"}), 200)
    both = (first | second).with_models(["lora", "tiny"])
    assert both.version == {"version": "1"}
    assert both.head_status == 200
    assert [model["id"] for model in both.models] == ["tiny", "big", "lora"]
    assert both.models[0] == TINY


@pytest.mark.parametrize(
    ("method", "path", "does"),
    [
        ("GET", "/v1/models", True),
        ("GET", "/v1/models/", True),
        ("HEAD", "/v1/models", True),
        ("GET", "/v1/models/meta-llama/Llama-3", True),
        ("GET", "/v1/models?limit=3", True),
        ("POST", "/v1/models", False),
        ("DELETE", "/v1/models/tiny", False),
        ("GET", "/v1/modelsx", False),
        ("GET", "/models", False),
    ],
)
def test_which_requests_ask_for_models(method: str, path: str, does: bool) -> None:
    """The list, and one of them by its name."""
    assert describes_models(Request(method, path)) is does
