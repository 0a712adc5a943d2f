"""`/tokenize` and `/detokenize`: what a prompt is in tokens, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from replayproxy.simulator import reading
from replayproxy.simulator.conversation import chat_messages, prompt_text
from replayproxy.simulator.routes import ApiError, Call, Routes, json_response
from replayproxy.simulator.tools import chat_tools

if TYPE_CHECKING:
    from replayproxy.model import Response
    from replayproxy.simulator.context import Context
    from replayproxy.simulator.engine import Engine


def register(routes: Routes, context: Context, _: Engine) -> None:
    """Add the endpoints."""
    routes.add("POST", "/tokenize", lambda call: _tokenize(call, context))
    routes.add("POST", "/detokenize", lambda call: _detokenize(call, context))


def _tokenize(call: Call, context: Context) -> Response:
    body = reading.body_object(call)
    context.models.resolve(body.get("model"))
    if body.get("prompt") is not None and body.get("messages") is not None:
        raise ApiError(400, "both prompt and messages fields in tokenize request")
    tokens = context.tokenizer.tokens(_text(body))
    return json_response(
        {
            "count": len(tokens),
            "max_model_len": context.options.max_model_len,
            "tokens": [token.id for token in tokens],
            "token_strs": [token.text for token in tokens] if reading.flag(body, "return_token_strs") else None,
        }
    )


def _text(body: dict[str, Any]) -> str:
    """The prompt, or the conversation as a chat request has it."""
    if body.get("messages") is not None:
        generates = reading.flag(body, "add_generation_prompt", default=True)
        return prompt_text(chat_messages(body["messages"]), chat_tools(body), generates=generates)
    prompt = reading.required(body, "prompt")
    if not isinstance(prompt, str):
        raise reading.invalid("string_type", "prompt", "Input should be a valid string", prompt)
    return prompt


def _detokenize(call: Call, context: Context) -> Response:
    body = reading.body_object(call)
    tokens = reading.required(body, "tokens")
    if not isinstance(tokens, list):
        raise reading.invalid("list_type", "tokens", "Input should be a valid list", tokens)
    context.models.resolve(body.get("model"))
    return json_response({"prompt": context.tokenizer.decode(reading.token_ids(tokens))})
