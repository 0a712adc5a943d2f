"""Answers that are injected have the status, body and fields that the peers and RFC 9110 have."""

from __future__ import annotations

import orjson
import pytest

from replayproxy.core.faults.failure_answers import FAILURE_TYPES, failure_answer, may_be_retried, status_answer


@pytest.mark.parametrize(
    ("failure", "status", "error"),
    [
        (
            "rate_limit",
            429,
            {
                "message": "Rate limit reached for base/m in organization org-xxx on requests per min (RPM): Limit 3,"
                " Used 3, Requested 1.",
                "type": "RateLimitError",
                "param": None,
                "code": 429,
            },
        ),
        (
            "invalid_api_key",
            401,
            {"message": "Incorrect API key provided.", "type": "AuthenticationError", "param": None, "code": 401},
        ),
        (
            "context_length",
            400,
            {
                "message": "This model's maximum context length is 4096 tokens. However, your messages resulted in"
                " 4500 tokens.",
                "type": "BadRequestError",
                "param": "messages",
                "code": 400,
            },
        ),
        (
            "server_error",
            503,
            {
                "message": "The server is overloaded or not ready yet.",
                "type": "InternalServerError",
                "param": None,
                "code": 503,
            },
        ),
        (
            "invalid_request",
            400,
            {
                "message": "Invalid request: missing required parameter 'model'.",
                "type": "BadRequestError",
                "param": "model",
                "code": 400,
            },
        ),
        (
            "model_not_found",
            404,
            {
                "message": "The model 'base/m-nonexistent' does not exist",
                "type": "NotFoundError",
                "param": "model",
                "code": 404,
            },
        ),
    ],
)
def test_named_failures_are_those_of_llm_d(failure: str, status: int, error: dict[str, object]) -> None:
    """Status and body, field by field, and in their order."""
    response = failure_answer(failure, "base/m")
    assert response.status == status
    assert response.body == orjson.dumps({"error": error})
    assert ("Content-Length", str(len(response.body))) in response.headers
    assert not any(name == "Retry-After" for name, _ in response.headers)


def test_every_type_of_failure_is_listed() -> None:
    """Six, in the order of `--failure-types`."""
    assert list(FAILURE_TYPES) == [
        "rate_limit",
        "invalid_api_key",
        "context_length",
        "server_error",
        "invalid_request",
        "model_not_found",
    ]


@pytest.mark.parametrize(
    ("seconds", "fields"),
    [
        (None, []),
        (2.0, [("Retry-After", "2")]),
        (0.5, [("Retry-After", "1"), ("Retry-After-Ms", "500")]),
        (0.0, [("Retry-After", "0")]),
    ],
)
def test_retry_after_is_in_whole_seconds(seconds: float | None, fields: list[tuple[str, str]]) -> None:
    """RFC 9110 10.2.3 knows no fractions; OpenAI's SDKs read the other field first."""
    assert [field for field in status_answer(429, seconds).headers if field[0].startswith("Retry")] == fields


@pytest.mark.parametrize(
    ("status", "may"),
    [(400, False), (401, False), (404, False), (422, False), (408, True), (409, True), (429, True), (500, True)],
)
def test_what_may_be_retried(status: int, may: bool) -> None:
    """As the OpenAI SDKs decide."""
    assert may_be_retried(status) is may
