"""Which endpoints generate, and how a request to each of them is cut to one token. One table decides.

What is not in the table goes to a decode server alone, whatever it is; `looks_like_generation` says where that may be a
mistake. Nothing here changes a request's target: a server may tell `//v1/completions` from `/v1/completions`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How a request to an endpoint limits what is generated.

    `caps` are set to 1 always, `optional_caps` where the request has them: an engine may refuse two at once. `least`
    are lower bounds, which must not be above the cap. All of them stand in the object `within`, or in the body itself.
    """

    caps: tuple[str, ...]
    optional_caps: tuple[str, ...] = ()
    least: tuple[str, ...] = ("min_tokens",)
    within: str | None = None


_CHAT = Endpoint(("max_tokens",), ("max_completion_tokens",))
_VLLM_GENERATE = Endpoint(("max_tokens",), within="sampling_params")
_SGLANG_GENERATE = Endpoint(("max_new_tokens",), least=("min_new_tokens",), within="sampling_params")

GENERATING = {
    "/v1/completions": _CHAT,
    "/v1/chat/completions": _CHAT,
    "/v1/responses": Endpoint(("max_output_tokens",), ("max_tokens", "max_completion_tokens")),
    "/v1/messages": Endpoint(("max_tokens",)),
    "/inference/v1/generate": _VLLM_GENERATE,  # vLLM, tokens in and out
    "/generate": _SGLANG_GENERATE,  # SGLang; vLLM's old demonstration server has all parameters in the body itself
    "/invocations": _CHAT,  # SageMaker's name for chat and completions, which the body tells apart
}
"""Endpoints that generate, and so have a prefill. Everything else goes to a decode server alone."""

_INPUT = {
    "/generate": ("text", "input_ids", "input_embeds", "prompt"),
    "/invocations": ("messages", "prompt"),
}
"""Without one of these in its body such a request is of another kind, or of another engine's."""

_ALWAYS_INPUT = ("prompt", "messages")
_MAYBE_INPUT = ("input", "inputs", "text", "input_ids", "token_ids", "contents")
_LIMITS = frozenset(
    {
        "generationConfig",
        "max_completion_tokens",
        "max_new_tokens",
        "max_output_tokens",
        "max_tokens",
        "parameters",
        "sampling_params",
        "stream",
        "temperature",
    }
)

_NOT_GENERATING = re.compile(
    r"/(?:render|tokenize|detokenize|count_tokens|input_tokens|embeddings|embed|encode|pooling|classify|score|rerank"
    r"|moderations|derender)\b"
)


def endpoint_of(path: str) -> Endpoint | None:
    """How this endpoint is cut to one token; None where it is not known to generate.

    Slashes are normalised as routers do it: one where there are several, none at the end.
    """
    return GENERATING.get(_normalised(path))


def generates(path: str, body: dict[str, Any]) -> bool:
    """Whether a request with this body has a prefill."""
    normalised = _normalised(path)
    needed = _INPUT.get(normalised)
    return normalised in GENERATING and (needed is None or any(name in body for name in needed))


def looks_like_generation(path: str, body: dict[str, Any]) -> bool:
    """Whether a request to an endpoint that is not in the table, or is not split, looks as if it generated text."""
    if _NOT_GENERATING.search(path):
        return False
    if any(name in body for name in _ALWAYS_INPUT):
        return True
    return any(name in body for name in _MAYBE_INPUT) and not _LIMITS.isdisjoint(body)


def one_token(body: dict[str, Any], path: str) -> dict[str, Any]:
    """A copy that generates one token in one piece. Everything else is kept: `n`, tools, response formats.

    `min_tokens` above the cap, and `stream_options` without a stream, would be refused by vLLM with 400.
    """
    endpoint = endpoint_of(path) or _CHAT
    short = {name: value for name, value in body.items() if name != "stream_options"}
    short["stream"] = False
    if endpoint.within is None:
        return short | _capped(body, endpoint)
    if endpoint is _SGLANG_GENERATE and endpoint.within not in body and "prompt" in body:
        return short | _capped(body, _CHAT)
    inner = body.get(endpoint.within)
    if isinstance(inner, list):  # one per prompt of a batch
        capped: Any = [_capped_copy(item, endpoint) for item in inner]
    else:
        capped = _capped_copy(inner, endpoint)
    return short | {endpoint.within: capped}


def prompts_in(body: dict[str, Any]) -> int | None:
    """How many prompts a list of them holds; None for one prompt, of text or of token ids."""
    for name in ("prompt", "text", "input_ids", "input_embeds"):
        prompt = body.get(name)
        if isinstance(prompt, list) and prompt:
            one = isinstance(prompt[0], int) or (name == "input_embeds" and _is_one_embedding(prompt))
            return None if one else len(prompt)
    return None


def choices_in(body: dict[str, Any]) -> int:
    """How many answers to each prompt are to be made (`n`)."""
    inner = body.get("sampling_params")
    inner = inner[0] if isinstance(inner, list) and inner else inner
    for place in (body, inner if isinstance(inner, dict) else {}):
        n = place.get("n")
        if isinstance(n, int) and not isinstance(n, bool) and n > 1:
            return n
    return 1


def _capped_copy(parameters: object, endpoint: Endpoint) -> dict[str, Any]:
    parameters = parameters if isinstance(parameters, dict) else {}
    return parameters | _capped(parameters, endpoint)


def _capped(parameters: dict[str, Any], endpoint: Endpoint) -> dict[str, Any]:
    """What has to be changed in the object that holds the limits."""
    changed: dict[str, Any] = dict.fromkeys(endpoint.caps, 1)
    changed |= {name: 1 for name in endpoint.optional_caps if name in parameters}
    for name in endpoint.least:
        least = parameters.get(name)
        if isinstance(least, int | float) and least > 1:
            changed[name] = 1
    return changed


def _is_one_embedding(value: list[Any]) -> bool:
    """A list of vectors; a batch is a list of such lists."""
    return isinstance(value[0], list) and bool(value[0]) and isinstance(value[0][0], int | float)


def _normalised(path: str) -> str:
    return re.sub(r"/+", "/", path).rstrip("/")
