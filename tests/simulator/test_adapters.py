"""Adapters are loaded and unloaded under vLLM's rules, and run in a bounded number of slots."""

from __future__ import annotations

from typing import Any

import pytest

from replayproxy.simulator.adapters import LONGEST_NAME, Adapter, AdapterRefused, Adapters

SQL = {"lora_name": "sql", "lora_path": "/sql"}


def adapters(**more: Any) -> Adapters:
    """A server of the base model `base` with the adapter `sql`."""
    made = Adapters(("base", "alias"), **more)
    made.load(SQL)
    return made


def test_loading_and_unloading() -> None:
    """Numbers count on, also after an unload; the answers are vLLM's."""
    made = adapters()
    assert made.load({"lora_name": "b", "lora_path": "/b"}) == "Success: LoRA adapter 'b' added successfully."
    assert made.unload({"lora_name": "sql"}) == "Success: LoRA adapter 'sql' removed successfully."
    made.load(SQL)
    assert list(made.loaded.values()) == [Adapter("b", "/b", 2), Adapter("sql", "/sql", 3)]


def test_loading_in_place_keeps_the_number() -> None:
    """New weights, the same adapter."""
    made = adapters()
    made.load({"lora_name": "sql", "lora_path": "/new", "load_inplace": True})
    assert made.loaded == {"sql": Adapter("sql", "/new", 1)}


@pytest.mark.parametrize(
    ("call", "status", "type", "words"),
    [
        ({}, 400, "InvalidUserInput", "Both 'lora_name' and 'lora_path' must be provided."),
        ({"lora_name": "x"}, 400, "InvalidUserInput", "Both"),
        ({"lora_name": "", "lora_path": "/x"}, 400, "InvalidUserInput", "Both"),
        ({"lora_name": 7, "lora_path": "/x"}, 400, "InvalidUserInput", "Both"),
        (SQL, 400, "InvalidUserInput", "has already been loaded"),
        ({**SQL, "load_inplace": "yes"}, 400, "InvalidUserInput", "has already been loaded"),
        ({"lora_name": "alias", "lora_path": "/x"}, 400, "InvalidUserInput", "conflicts with a served base model"),
        ({"lora_name": "x", "lora_path": "/nonexistent"}, 404, "NotFoundError", "No adapter found for /nonexistent"),
        ({"lora_name": "x", "lora_path": "/invalid/x"}, 404, "NotFoundError", "Loading lora x failed"),
        ({"lora_name": "x" * (LONGEST_NAME + 1), "lora_path": "/x"}, 400, "InvalidUserInput", "at most"),
    ],
)
def test_what_cannot_be_loaded(call: dict[str, Any], status: int, type: str, words: str) -> None:
    """Is refused as vLLM refuses it; paths that AIBrix's mock does not find are not found."""
    made = adapters()
    with pytest.raises(AdapterRefused) as refused:
        made.load(call)
    assert (refused.value.status, refused.value.type) == (status, type)
    assert words in refused.value.message
    assert list(made.loaded) == ["sql"]


@pytest.mark.parametrize(
    ("call", "status", "type", "words"),
    [
        ({}, 400, "InvalidUserInput", "'lora_name' needs to be provided"),
        ({"lora_name": "x"}, 404, "NotFoundError", "The lora adapter 'x' cannot be found."),
    ],
)
def test_what_cannot_be_unloaded(call: dict[str, Any], status: int, type: str, words: str) -> None:
    """Is refused as vLLM refuses it."""
    with pytest.raises(AdapterRefused) as refused:
        adapters().unload(call)
    assert (refused.value.status, refused.value.type) == (status, type)
    assert words in refused.value.message


def test_modules_of_the_command_line() -> None:
    """Each has a name, and may have a path and the name of its base model."""
    made = Adapters(("base", "alias"))
    made.add([{"name": "a"}, {"name": "b", "path": "/b", "base_model_name": "alias"}])
    assert list(made.loaded.values()) == [Adapter("a", "a", 1), Adapter("b", "/b", 2, "alias")]


@pytest.mark.parametrize("module", [1, "sql", {}, {"name": 1}, {"path": "/sql"}, {"name": ""}])
def test_modules_that_are_none(module: Any) -> None:
    """Are refused; an adapter has a name."""
    with pytest.raises(AdapterRefused, match=r"such as|must be provided"):
        Adapters(("base",)).add([module])


def test_slots() -> None:
    """Requests of a running adapter share its slot; one more adapter waits until a slot is free."""
    made = adapters(max_loras=2)
    for name in ("sql", "sql", "b"):
        assert made.can_run(name)
        made.start(name)
    assert (made.running, made.can_run("c"), made.can_run("sql")) == (["sql", "b"], False, True)
    made.stop("sql")
    assert not made.can_run("c")
    made.stop("sql")
    assert (made.running, made.can_run("c")) == (["b"], True)


def test_an_unloaded_adapter_keeps_its_slot_while_it_runs() -> None:
    """Unloading stops nobody."""
    made = adapters()
    made.start("sql")
    made.unload({"lora_name": "sql"})
    assert (made.running, made.can_run("b")) == (["sql"], False)
    made.stop("sql")
    assert made.can_run("b")
