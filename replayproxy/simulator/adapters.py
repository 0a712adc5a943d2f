"""LoRA adapters: which are loaded, and which may run at once. The rules and sentences are those of vLLM 0.32.

    load ──▶ loaded ──start──▶ running, in one of max_loras slots ──stop──▶ loaded ──unload──▶ gone

An adapter that is unloaded while requests of it run stays in its slot until they have ended. Knows no HTTP beyond the
status of a refusal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_ADAPTERS = 10_000
"""Loaded adapters; each is two short texts. vLLM has no such limit, and no name is short there either."""

LONGEST_NAME = 1000
"""Characters of a name or a path, which stay in memory and become part of metrics."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A loaded adapter. `number` is vLLM's `lora_int_id`, which counts from 1."""

    name: str
    path: str
    number: int
    base_model: str | None = None


class AdapterRefused(Exception):
    """A call that vLLM refuses: status, type and message of its error."""

    def __init__(self, status: int, type: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.message = message


@dataclass(slots=True)
class Adapters:
    """The adapters of one server. `models` are the names under which the base model is served."""

    models: tuple[str, ...]
    max_loras: int = 1
    loaded: dict[str, Adapter] = field(default_factory=dict)
    _numbers: int = 0
    _running: Counter[str] = field(default_factory=Counter)

    def load(self, call: Mapping[str, Any]) -> str:
        """`POST /v1/load_lora_adapter`: the text of the answer. Raises `AdapterRefused`."""
        name, path = _text(call, "lora_name"), _text(call, "lora_path")
        if not name or not path:
            raise AdapterRefused(400, "InvalidUserInput", "Both 'lora_name' and 'lora_path' must be provided.")
        if name in self.models:
            raise AdapterRefused(
                400, "InvalidUserInput", f"The lora adapter '{name}' conflicts with a served base model."
            )
        in_place = call.get("load_inplace") is True
        if name in self.loaded and not in_place:
            raise AdapterRefused(
                400,
                "InvalidUserInput",
                f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in place, set"
                " 'load_inplace' to True.",
            )
        if "nonexistent" in path or "/invalid/" in path:  # as AIBrix's mocked server has it: a path that does not exist
            raise AdapterRefused(404, "NotFoundError", f"Loading lora {name} failed: No adapter found for {path}")
        if len(self.loaded) >= MOST_ADAPTERS or max(len(name), len(path)) > LONGEST_NAME:
            raise AdapterRefused(
                400,
                "InvalidUserInput",
                f"The simulator holds at most {MOST_ADAPTERS} adapters with names and paths of at most"
                f" {LONGEST_NAME} characters: unload one, or use shorter ones.",
            )
        base = call.get("base_model_name")
        self._add(name, path, base if isinstance(base, str) and base in self.models else None)
        return f"Success: LoRA adapter '{name}' added successfully."

    def unload(self, call: Mapping[str, Any]) -> str:
        """`POST /v1/unload_lora_adapter`: the text of the answer. Raises `AdapterRefused`."""
        name = _text(call, "lora_name")
        if not name:
            raise AdapterRefused(400, "InvalidUserInput", "'lora_name' needs to be provided to unload a LoRA adapter.")
        if name not in self.loaded:
            raise AdapterRefused(404, "NotFoundError", f"The lora adapter '{name}' cannot be found.")
        del self.loaded[name]
        return f"Success: LoRA adapter '{name}' removed successfully."

    def add(self, modules: Iterable[Any]) -> None:
        """The adapters of `--lora-modules`. Raises `AdapterRefused`."""
        for module in modules:
            if not isinstance(module, Mapping) or not isinstance(module.get("name"), str):
                raise AdapterRefused(
                    400, "InvalidUserInput", f'{module!r} is not a JSON object with a name, such as {{"name": "sql"}}'
                )
            name = module["name"]
            path = str(module.get("path") or name)  # llm-d-inference-sim: without a path, its name is the path
            self.load({"lora_name": name, "lora_path": path, "base_model_name": module.get("base_model_name")})

    def _add(self, name: str, path: str, base_model: str | None) -> None:
        before = self.loaded.get(name)
        if before is None:
            self._numbers += 1
        self.loaded[name] = Adapter(name, path, before.number if before else self._numbers, base_model)

    # Slots

    @property
    def running(self) -> list[str]:
        """The adapters of running requests, in the order in which they took their slots."""
        return list(self._running)

    def can_run(self, name: str) -> bool:
        """Whether a request of this adapter may start: it is running already, or a slot is free."""
        return name in self._running or len(self._running) < self.max_loras

    def start(self, name: str) -> None:
        """A request of this adapter starts."""
        self._running[name] += 1

    def stop(self, name: str) -> None:
        """A request of this adapter has ended."""
        self._running[name] -= 1
        if not self._running[name]:
            del self._running[name]


def _text(call: Mapping[str, Any], name: str) -> str:
    value = call.get(name)
    return value if isinstance(value, str) else ""
