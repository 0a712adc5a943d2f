"""`/v1/models`, and which model a request means.

Adapters come and go while the server runs; who keeps them sets them here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from replayproxy.simulator.routes import ApiError, Call, Routes, json_response

if TYPE_CHECKING:
    from replayproxy.model import Response
    from replayproxy.simulator.context import Context
    from replayproxy.simulator.engine import Engine


class ModelName(NamedTuple):
    """A model as an answer names it, and the adapter that this is; None: the base model."""

    name: str
    adapter: str | None = None


class ServedModels:
    """The names of the base model, and the adapters with their paths."""

    def __init__(self, names: tuple[str, ...], root: str, *, any_model: bool = False) -> None:
        self.names = names
        self.root = root
        self.adapters: dict[str, str] = {}
        """Name to path. Changed by those who load and unload adapters."""
        self._any_model = any_model

    def resolve(self, name: object) -> ModelName:
        """The model of this name; the first one if a request names none. Raises `ApiError` 404, as vLLM does."""
        if name is None or name == "":
            return ModelName(self.names[0])
        name = str(name)
        if name in self.adapters:
            return ModelName(name, name)
        if name in self.names or self._any_model:
            return ModelName(name)
        aliases = ", ".join((*self.names, *self.adapters))
        raise ApiError(404, f"The model `{name}` does not exist. Valid aliases: {aliases}.", param="model")

    def documents(self, created: int, max_model_len: int, permission_id: str) -> list[dict[str, Any]]:
        """One entry for each name, in the order of vLLM: the base model's, then the adapters'."""
        entries = [(name, self.root, None) for name in self.names]
        adapters = [(name, path, self.names[0]) for name, path in sorted(self.adapters.items())]
        return [
            {
                "id": name,
                "object": "model",
                "created": created,
                "owned_by": "vllm",
                "root": root,
                "parent": parent,
                "max_model_len": max_model_len if parent is None else None,
                "permission": [_permission(f"modelperm-{permission_id}", created)],
            }
            for name, root, parent in (*entries, *adapters)
        ]


def _permission(id: str, created: int) -> dict[str, Any]:
    return {
        "id": id,
        "object": "model_permission",
        "created": created,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }


def register(routes: Routes, context: Context, _: Engine) -> None:
    """Add `/v1/models`."""

    def answer(call: Call) -> Response:
        created, longest = context.created(), context.options.max_model_len
        documents = context.models.documents(created, longest, call.draws.id("permission"))
        return json_response({"object": "list", "data": documents})

    routes.add("GET", "/v1/models", answer)
