"""Tests of `simulator/models`: which names are answered, and what `/v1/models` has."""

from __future__ import annotations

import pytest

from replayproxy.simulator.models import ModelName, ServedModels
from replayproxy.simulator.routes import ApiError
from tests.doubles.simulation import ask


def served(any_model: bool = False) -> ServedModels:
    """Two names and an adapter."""
    models = ServedModels(("a", "b"), "org/root", any_model=any_model)
    models.adapters["sql"] = "/lora/sql"
    return models


@pytest.mark.parametrize(
    ("name", "model"),
    [(None, ("a", None)), ("", ("a", None)), ("b", ("b", None)), ("sql", ("sql", "sql"))],
)
def test_a_name_is_resolved(name: object, model: tuple[str, str | None]) -> None:
    """Without a name it is the first; an adapter is one of its own."""
    assert served().resolve(name) == ModelName(*model)


def test_another_name_is_refused_unless_any_is_answered() -> None:
    """With the names that there are."""
    with pytest.raises(ApiError, match=r"The model `x` does not exist. Valid aliases: a, b, sql\."):
        served().resolve("x")
    assert served(any_model=True).resolve("x") == ModelName("x")


def test_the_list_has_names_and_adapters() -> None:
    """An adapter has a path as its root, and the first name as its parent."""
    entries = served().documents(7, 1024, "p")
    assert [(entry["id"], entry["root"], entry["parent"], entry["max_model_len"]) for entry in entries] == [
        ("a", "org/root", None, 1024), ("b", "org/root", None, 1024), ("sql", "/lora/sql", "a", None),
    ]  # fmt: skip


def test_the_endpoint_has_the_keys_of_vllm() -> None:
    """In its order."""
    (model,) = ask("/v1/models").json["data"]
    assert list(model) == [
        "id", "object", "created", "owned_by", "root", "parent", "max_model_len", "permission",
    ]  # fmt: skip
    assert model["permission"][0]["object"] == "model_permission"
