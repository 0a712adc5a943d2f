"""`/v1/embeddings`: vectors that follow from the tokens alone, of length 1, as numbers or base64.

The numbers are drawn from a hash of the tokens, so that equal inputs have equal vectors on every server, and different
ones are far from each other.
"""

from __future__ import annotations

import math
import random
from base64 import b64encode
from hashlib import blake2b
from struct import pack
from typing import TYPE_CHECKING, Any

import orjson

from replayproxy.simulator import reading
from replayproxy.simulator.routes import ApiError, Call, Routes, json_response

if TYPE_CHECKING:
    from replayproxy.model import Response
    from replayproxy.simulator.context import Context
    from replayproxy.simulator.engine import Engine

MOST_DIMENSIONS = 65_536
MOST_INPUTS = 2048
"""As in OpenAI's API."""


def register(routes: Routes, context: Context, _: Engine) -> None:
    """Add the endpoint."""
    routes.add("POST", "/v1/embeddings", lambda call: _answer(call, context))


def _answer(call: Call, context: Context) -> Response:
    body = reading.body_object(call)
    model = context.models.resolve(body.get("model"))
    inputs = _inputs(reading.required(body, "input"), context)
    dimensions = reading.whole(body, "dimensions", context.options.dimensions, least=1) or context.options.dimensions
    if dimensions > MOST_DIMENSIONS:
        raise reading.out_of_range("dimensions", f"must be at most {MOST_DIMENSIONS}, got {dimensions}.", dimensions)
    format = body.get("encoding_format") or "float"
    if format not in ("float", "base64"):
        message = f"encoding_format={format!r} does not exist: give float or base64"
        raise ApiError(400, message, param="encoding_format")
    for tokens in inputs:
        context.room(tokens, None, name="max_tokens")
    vectors = [vector(tokens, dimensions) for tokens in inputs]
    count = sum(map(len, inputs))
    return json_response(
        {
            "id": f"embd-{call.draws.id('request')}",
            "object": "list",
            "created": context.created(),
            "model": model.name,
            "data": [
                {"index": index, "object": "embedding", "embedding": values if format == "float" else _base64(values)}
                for index, values in enumerate(vectors)
            ],
            "usage": {
                "prompt_tokens": count,
                "total_tokens": count,
                "completion_tokens": 0,
                "prompt_tokens_details": None,
                "completion_tokens_details": None,
            },
        }
    )


def vector(tokens: list[int], dimensions: int) -> list[float]:
    """The embedding of these tokens: a direction that is drawn, of length 1."""
    digest = blake2b(orjson.dumps(tokens), digest_size=16).digest()
    draw = random.Random(digest)
    values = [draw.gauss(0.0, 1.0) for _ in range(dimensions)]
    length = math.sqrt(sum(value * value for value in values)) or 1.0
    return [value / length for value in values]


def _base64(values: list[float]) -> str:
    """Little-endian floats of 32 bits."""
    return b64encode(pack(f"<{len(values)}f", *values)).decode()


def _inputs(value: Any, context: Context) -> list[list[int]]:
    """The token ids of each input. Raises `ApiError` where it is not one of the four forms."""
    if isinstance(value, str) or (isinstance(value, list) and value and all(isinstance(id, int) for id in value)):
        value = [value]
    found: list[list[int]] = []
    for one in value if isinstance(value, list) else ():
        if isinstance(one, str) and one:
            found.append(context.tokenizer.encode(one))
        elif isinstance(one, list) and one and all(isinstance(id, int) and 0 <= id < 2**63 for id in one):
            found.append(one)
        else:
            raise ApiError(400, "input cannot be an empty string", param="input")
    if not found:
        raise ApiError(400, "input is required and must be a non-empty string or array", param="input")
    if len(found) > MOST_INPUTS:
        raise ApiError(400, f"input has {len(found)} entries, and at most {MOST_INPUTS} are allowed", param="input")
    return found
