"""What a row repeats of its payload, so that `ls`, `stats` and SQL need not unpack it."""

from __future__ import annotations

from replayproxy.core import coding
from replayproxy.core.dialects.facts import Facts
from replayproxy.model import Request, Response


def model_of(facts: Facts) -> str | None:
    """The model's name, as a row has it."""
    return None if facts.model is None else facts.model[:200]


def is_opaque(request: Request, response: Response) -> bool:
    """Return whether a body is in a coding that cannot be decoded; a fact of format 2."""
    return coding.is_opaque(request.headers, request.body) or coding.is_opaque(response.headers, response.body)


def derived_columns(request: Request, response: Response, facts: Facts) -> dict[str, int | str | None]:
    """What a row repeats of its payload, for those who do not want to unpack it. The response is as it will be read."""
    return {
        "stream": int(facts.stream),
        "status": response.status,
        "ending": int(response.ending),
        "request_size": len(request.body),
        "response_size": len(response.body),
        "chunks": len(response.cuts),
        "ttft_us": None if facts.first_content is None else facts.first_content // 1000,
        "total_us": response.timeline.end // 1000,
        "prompt_tokens": facts.prompt_tokens,
        "completion_tokens": facts.completion_tokens,
        "cached_tokens": facts.cached_tokens,
        "finish": None if facts.finish is None else facts.finish[:40],
        "opaque": 1 if is_opaque(request, response) else None,
        "transfer": facts.transfer,
    }
