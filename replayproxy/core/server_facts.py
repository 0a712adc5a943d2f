"""What a cassette knows of the server that it was recorded from. Pure: sends no request, reads no file.

    record   GET /v1/models, GET /version, HEAD /health, once at the start ──▶ entries of the cassette's meta table
    replay   the same requests, where no recording answers them            ◀── the same entries

A cassette may come from a stranger: an entry of another shape is as good as none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from replayproxy.model import Request

MODELS = "/v1/models"
VERSION = "/version"
HEALTH = "/health"

PROBE_REQUESTS = (Request("GET", MODELS), Request("GET", VERSION), Request("HEAD", HEALTH))
"""What is asked when recording starts, without a client's credentials."""

LONGEST = 64 * 1024
"""Bytes of an answer that are kept: a list of a thousand models."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What the recorded server answered; None if it was not asked, or did not say."""

    version: Mapping[str, Any] | None = None
    """The JSON of `GET /version`."""
    models: tuple[Mapping[str, Any], ...] = ()
    """The entries in the list of `GET /v1/models`."""
    head_status: int | None = None
    """Of `HEAD /health`: FastAPI gives 405, others 200."""

    @classmethod
    def of_meta(cls, meta: Mapping[str, Any]) -> Self:
        """What stands on a cassette."""
        version, models, status = (meta.get(name) for name in ("server_version", "server_models", "server_head"))
        return cls(
            version if isinstance(version, dict) else None,
            listed(models),
            status if type(status) is int and 200 <= status <= 599 else None,
        )

    def __or__(self, other: ServerFacts) -> ServerFacts:
        """Of two cassettes that are played together: the first one's word counts, and the models of both."""
        return ServerFacts(
            other.version if self.version is None else self.version,
            (*self.models, *(model for model in other.models if model["id"] not in self.names)),
            other.head_status if self.head_status is None else self.head_status,
        )

    @property
    def names(self) -> frozenset[str]:
        """The models' ids."""
        return frozenset(model["id"] for model in self.models)

    def with_models(self, names: Iterable[str]) -> ServerFacts:
        """With those that occur in recordings and that the server did not list."""
        own = tuple(
            {"id": name, "object": "model", "created": 0, "owned_by": "replayproxy"}
            for name in sorted(set(names) - self.names)
        )
        return ServerFacts(self.version, (*self.models, *own), self.head_status)


def listed(answered: Any) -> tuple[Mapping[str, Any], ...]:
    """The entries of a list of models in OpenAI's shape that have a name; of anything else none."""
    entries = answered.get("data") if isinstance(answered, dict) else None
    if not isinstance(entries, list):
        return ()
    return tuple(entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str))


def describes_models(request: Request) -> bool:
    """Whether a request asks which models there are, or for one of them."""
    path = request.path.rstrip("/")
    return request.method in ("GET", "HEAD") and (path == MODELS or path.startswith(MODELS + "/"))
