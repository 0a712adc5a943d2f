"""`/v1/responses`, OpenAI's newer dialect: its requests. The answer's events are in `response_writer`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from replayproxy.simulator import reading
from replayproxy.simulator.conversation import Message, echoed, prompt_text
from replayproxy.simulator.generation import GenerationRequest
from replayproxy.simulator.response_writer import ItemIds, ResponseOptions, ResponsesWriter
from replayproxy.simulator.routes import ApiError, Call, Generation, Routes
from replayproxy.simulator.structured import structure_of_responses
from replayproxy.simulator.tools import chat_tool_choice, chat_tools
from replayproxy.simulator.transfer import RemoteKv

if TYPE_CHECKING:
    from replayproxy.simulator.context import Context
    from replayproxy.simulator.engine import Engine

LOGPROBS = "message.output_text.logprobs"
"""The word in `include` that asks for log probabilities."""


def register(routes: Routes, context: Context, _: Engine) -> None:
    """Add the endpoint."""
    routes.add("POST", "/v1/responses", lambda call: _generate(call, context))


def _generate(call: Call, context: Context) -> Generation:
    body = reading.body_object(call)
    messages = _conversation(body)
    model = context.models.resolve(body.get("model"))
    reading.check_ranges(body)
    max_tokens = reading.whole(body, "max_output_tokens", least=1)
    tools = chat_tools(body)
    prompt = context.tokenizer.encode(prompt_text(messages, tools))
    request = GenerationRequest(
        prompt=prompt,
        echo=echoed(messages),
        limit=context.room(prompt, max_tokens, name="max_output_tokens"),
        max_tokens=max_tokens,
        tools=tools,
        tool_choice=chat_tool_choice(body, tools),
        parallel_tool_calls=reading.flag(body, "parallel_tool_calls", default=True),
        reasoning_tokens=_reasoning_tokens(body, context),
        **reading.stopping(body, max_tokens),
        **structure_of_responses(body),
    )
    id = f"resp_{call.draws.id('request')}"
    remote = RemoteKv.of(body)
    sequences, answers = context.sequences(
        call, model, [remote.limited(request)], request_id=id, choices=1, remote=remote
    )
    has_logprobs = isinstance(include := body.get("include"), list) and LOGPROBS in include
    options = ResponseOptions(
        document=_document(body, id, model.name, context.created(), request.limit),
        top_logprobs=reading.whole(body, "top_logprobs", 0) if has_logprobs else None,
        ticket=remote.ticket(call.draws, len(prompt)),
    )
    writer = ResponsesWriter(sequences[0], answers[0], options, ItemIds(call.draws))
    return Generation(sequences, answers, writer, reading.flag(body, "stream"))


def _conversation(body: dict[str, Any]) -> list[Message]:
    """Instructions and input: a text, or messages, calls and their outputs. Raises `ApiError` where there is none."""
    found = [Message("system", text)] if isinstance(text := body.get("instructions"), str) and text else []
    value = reading.required(body, "input")
    if isinstance(value, str):
        return [*found, Message("user", value)]
    for item in value if isinstance(value, list) else []:
        match item:
            case {"type": "function_call", "name": name}:
                found.append(Message("assistant", f"[{name}({item.get('arguments')})]"))
            case {"type": "function_call_output"}:
                found.append(Message("tool", _text(item.get("output"))))
            case {"role": role}:
                found.append(Message(str(role), _text(item.get("content"))))
    if not found:
        raise ApiError(400, "input must not be empty (parameter=input)", param="input")
    return found


def _text(content: Any) -> str:
    """The text of a message: parts of type `input_text` and `output_text` have it under `text`."""
    return reading.text_of_content(content)


def _reasoning_tokens(body: dict[str, Any], context: Context) -> int:
    reasoning = body.get("reasoning")
    effort = reasoning.get("effort") if isinstance(reasoning, dict) else None
    return context.reasoning_tokens({**body, "reasoning_effort": effort})


def _document(body: dict[str, Any], id: str, model: str, created: int, limit: int) -> dict[str, Any]:
    """The response as it is before anything is generated, keys in vLLM's order."""
    tools = [_tool(tool) for tool in body.get("tools") or () if isinstance(tool, dict)]
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and "name" in choice:
        choice = {"name": choice["name"], "type": "function"}
    return {
        "id": id,
        "created_at": created,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "metadata": body.get("metadata"),
        "model": model,
        "object": "response",
        "output": [],
        "parallel_tool_calls": reading.flag(body, "parallel_tool_calls", default=True),
        "temperature": float(body.get("temperature", 1.0) or 0.0),
        "tool_choice": choice if choice is not None else "auto" if tools else "none",
        "tools": tools,
        "top_p": float(body.get("top_p", 1.0) or 1.0),
        "background": False,
        "max_output_tokens": limit,
        "max_tool_calls": body.get("max_tool_calls"),
        "previous_response_id": None,
        "prompt": None,
        "reasoning": body.get("reasoning"),
        "service_tier": "auto",
        "status": "in_progress",
        "text": body.get("text"),
        "top_logprobs": body.get("top_logprobs"),
        "truncation": "disabled",
        "usage": None,
        "user": body.get("user"),
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "kv_transfer_params": None,
        "ec_transfer_params": None,
        "input_messages": None,
        "output_messages": None,
    }


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool as a response repeats it."""
    return {
        "name": tool.get("name"),
        "parameters": tool.get("parameters"),
        "strict": tool.get("strict"),
        "type": tool.get("type", "function"),
        "allowed_callers": None,
        "async": None,
        "defer_loading": None,
        "description": tool.get("description"),
        "output_schema": None,
    }
