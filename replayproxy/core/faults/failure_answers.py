"""Answers in place of the source's: an error by its status, and the six failures of llm-d-inference-sim.

Bodies are vLLM's error envelope: `{"error": {"message", "type", "param", "code"}}`, the code a number equal to the
status. Statuses and messages of the named failures are those of llm-d-inference-sim 0.9 (its `failures.go`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import orjson

from replayproxy.model import Headers, Response, Timeline


@dataclass(frozen=True, slots=True)
class FailureType:
    """One named failure. `{model}` in the message is the served model."""

    status: int
    message: str
    param: str | None = None


FAILURE_TYPES = {
    "rate_limit": FailureType(
        429,
        "Rate limit reached for {model} in organization org-xxx on requests per min (RPM): Limit 3, Used 3,"
        " Requested 1.",
    ),
    "invalid_api_key": FailureType(401, "Incorrect API key provided."),
    "context_length": FailureType(
        400,
        "This model's maximum context length is 4096 tokens. However, your messages resulted in 4500 tokens.",
        "messages",
    ),
    "server_error": FailureType(503, "The server is overloaded or not ready yet."),
    "invalid_request": FailureType(400, "Invalid request: missing required parameter 'model'.", "model"),
    "model_not_found": FailureType(404, "The model '{model}-nonexistent' does not exist", "model"),
}
"""By the words of `--failure-types`, in the order in which llm-d-inference-sim lists them."""

_ERROR_TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
}

RETRYABLE = frozenset({408, 409, 425, 429})
"""Statuses below 500 after which a client may ask again: those of the OpenAI SDKs, and 425 (RFC 8470)."""


def may_be_retried(status: int) -> bool:
    """Whether a client may send the request again after this status."""
    return status in RETRYABLE or status >= 500


def failure_answer(failure: str, model: str) -> Response:
    """The answer of one of `FAILURE_TYPES`."""
    kind = FAILURE_TYPES[failure]
    return error_answer(kind.status, kind.message.replace("{model}", model), param=kind.param)


def status_answer(status: int, retry_after: float | None) -> Response:
    """An error of this status, which says when to ask again if that is given, in seconds."""
    fields = () if retry_after is None else retry_after_fields(retry_after)
    return error_answer(status, f"This answer was injected: --fail status={status}", fields)


def error_answer(
    status: int, message: str, fields: Headers = (), *, param: str | None = None, type: str = "", code: object = None
) -> Response:
    """An error in vLLM's envelope; `type` and `code` follow from the status unless given."""
    kind = type or _ERROR_TYPES.get(status) or ("InternalServerError" if status >= 500 else "APIConnectionError")
    error = {"message": message, "type": kind, "param": param, "code": status if code is None else code}
    body = orjson.dumps({"error": error})
    own = (("Content-Type", "application/json"), ("Content-Length", str(len(body))))
    return Response(status, own + fields, body, (len(body),), Timeline(0, (0,), 0))


def retry_after_fields(seconds: float) -> Headers:
    """`Retry-After` in whole seconds (RFC 9110 10.2.3), and in milliseconds as OpenAI has it where that says more."""
    whole = ceil(seconds)
    more = () if whole == seconds else (("Retry-After-Ms", str(ceil(seconds * 1000))),)
    return (("Retry-After", str(whole)), *more)
