"""Requests whose answers of a real vLLM 0.32 are kept in `vllm-0.32.json`, by their form: keys, types, order of frames.

`tests/live` compares the file with a real vLLM, `test_reference` compares the simulator with the file; so the simulator
is compared with vLLM, field by field, without one. Errors are kept word by word.

    python -m tests.simulator.reference URL [thinking]      asks a vLLM at URL and prints what belongs into the file
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("vllm-0.32.json")

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
FLAT = {"type": "function", **TOOL["function"]}
MESSAGES = [{"role": "user", "content": "Hello."}]
LONG = "hello world " * 3000

Row = tuple[str, str, Any]
"""Method, path and body."""


def _chat(**more: Any) -> Row:
    body = {"model": "tiny", "messages": MESSAGES, "max_tokens": 12, "temperature": 0, **more}
    return ("POST", "/v1/chat/completions", body)


def _completion(**more: Any) -> Row:
    body = {"model": "tiny", "prompt": "Once upon a time", "max_tokens": 6, "temperature": 0, **more}
    return ("POST", "/v1/completions", body)


def _response(**more: Any) -> Row:
    return (
        "POST",
        "/v1/responses",
        {"model": "tiny", "input": "Hello.", "max_output_tokens": 8, "temperature": 0, **more},
    )


def _message(**more: Any) -> Row:
    body = {"model": "tiny", "messages": MESSAGES, "max_tokens": 5, "temperature": 0, **more}
    return ("POST", "/v1/messages", body)


USAGE = {"stream": True, "stream_options": {"include_usage": True}}
CONTINUOUS = {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}

PLAIN: dict[str, Row] = {
    "chat": _chat(),
    "chat stream": _chat(stream=True),
    "chat usage": _chat(**USAGE),
    "chat continuous usage": _chat(**CONTINUOUS),
    "chat ids": _chat(return_token_ids=True, max_tokens=3),
    "chat ids stream": _chat(return_token_ids=True, max_tokens=3, stream=True),
    "chat logprobs": _chat(logprobs=True, top_logprobs=2, max_tokens=3),
    "chat logprobs alone": _chat(logprobs=True, max_tokens=2),
    "chat logprobs stream": _chat(logprobs=True, top_logprobs=1, max_tokens=3, stream=True),
    "chat n": _chat(n=2, temperature=1),
    "completion": _completion(),
    "completion stream": _completion(stream=True),
    "completion continuous usage": _completion(**CONTINUOUS),
    "completion logprobs": _completion(logprobs=2, max_tokens=3),
    "completion logprobs stream": _completion(logprobs=1, max_tokens=3, stream=True),
    "completion ids": _completion(return_token_ids=True, max_tokens=3),
    "completion ids stream": _completion(return_token_ids=True, max_tokens=3, stream=True),
    "completion echo": _completion(echo=True, max_tokens=3),
    "completion prompts": _completion(prompt=["One", "Two"]),
    "response": _response(),
    "response stream": _response(stream=True),
    "response logprobs stream": _response(
        stream=True, max_output_tokens=3, include=["message.output_text.logprobs"], top_logprobs=1
    ),
    "message": _message(),
    "message stream": _message(stream=True),
    "tokenize": ("POST", "/tokenize", {"model": "tiny", "prompt": "Hello you", "return_token_strs": True}),
    "tokenize chat": ("POST", "/tokenize", {"model": "tiny", "messages": MESSAGES}),
    "detokenize": ("POST", "/detokenize", {"model": "tiny", "tokens": [40, 41]}),
    "version": ("GET", "/version", None),
    "load": ("GET", "/load", None),
    "ping": ("GET", "/ping", None),
    "health": ("GET", "/health", None),
    "models": ("GET", "/v1/models", None),
    "no body": ("POST", "/v1/chat/completions", {}),
    "no messages": _chat(messages=[]),
    "prompt too long": _chat(messages=[{"role": "user", "content": LONG}]),
    "completion too long": _completion(prompt=LONG),
    "answer too long": _chat(max_tokens=1_000_000),
    "max_tokens 0": _chat(max_tokens=0),
    "temperature below 0": _chat(temperature=-1),
    "logprobs missing": _chat(top_logprobs=2),
    "too many logprobs": _chat(logprobs=True, top_logprobs=30),
    "text for a number": _chat(max_tokens="a"),
    "no prompt": ("POST", "/v1/completions", {"model": "tiny"}),
    "empty prompt": _completion(prompt=""),
    "unknown model": _chat(model="nobody"),
    "usage without stream": _chat(stream_options={"include_usage": True}),
    "unknown tool": _chat(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "nope"}}),
    "no tools": _chat(tool_choice="required"),
    "message unknown model": _message(model="nobody"),
    "message without limit": ("POST", "/v1/messages", {"model": "tiny", "messages": MESSAGES}),
    "message too long": _message(messages=[{"role": "user", "content": LONG}]),
    "response unknown model": _response(model="nobody"),
    "response too long": _response(input=LONG),
    "unknown path": ("GET", "/nothing", None),
    "unknown method": ("GET", "/v1/chat/completions", None),
    "detokenize without tokens": ("POST", "/detokenize", {"model": "tiny"}),
}
"""For a vLLM with `--enable-prompt-tokens-details`."""

BEGINNINGS: dict[str, Row] = {
    "chat tools stream": _chat(tools=[TOOL], tool_choice="required", max_tokens=60, stream=True),
    "chat named tool stream": _chat(
        tools=[TOOL], tool_choice={"type": "function", "function": {"name": "get_weather"}}, max_tokens=60, stream=True
    ),
    "response tools stream": _response(tools=[FLAT], tool_choice="required", stream=True, max_output_tokens=60),
}
"""Streams of which the forms of the first frames are kept: the rest depends on what the model says."""

THINKING: dict[str, Row] = {
    "chat": _chat(),
    "chat usage": _chat(**USAGE),
    "response": _response(max_output_tokens=6),
    "response stream": _response(max_output_tokens=6, stream=True),
    "message": _message(),
    "message stream": _message(stream=True),
}
"""For a vLLM with `--reasoning-parser qwen3`, whose model does not come to an end of its thoughts."""

LITERAL = {"object", "type", "role", "finish_reason", "status", "stop_reason", "owned_by"}
"""Keys whose values belong to the form."""


def form(value: Any, key: str = "") -> Any:
    """Keys in their order and types; of a list the distinct forms of its entries."""
    if isinstance(value, dict):
        if key == "top_logprobs" and "token" not in value:
            return "number by token"
        return {name: form(entry, name) for name, entry in value.items()}
    if isinstance(value, list):
        distinct: list[Any] = []
        for entry in value:
            if (one := form(entry, key)) not in distinct:
                distinct.append(one)
        return distinct
    if value is None or key in LITERAL:
        return value
    return "flag" if isinstance(value, bool) else "number" if isinstance(value, int | float) else "text"


def forms(body: str) -> list[Any]:
    """The forms of the frames of a stream, of equal ones in a row the first; or the form of a whole body."""
    if not body:
        return []
    if "data: " not in body:
        return [form(json.loads(body))]
    found: list[Any] = []
    for event in body.strip().split("\n\n"):
        name, _, data = event.rpartition("data: ")
        one = [name.strip(), data if data == "[DONE]" else form(json.loads(data))]
        if not found or found[-1] != one:
            found.append(one)
    return found


def kept(status: int, body: str) -> dict[str, Any]:
    """What the file has of an answer."""
    return {"status": status, "body": json.loads(body)} if status >= 400 else {"status": status, "forms": forms(body)}


def ask(url: str, row: Row) -> tuple[int, str]:
    """Status and body of an answer."""
    method, path, body = row
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url + path, data, {"content-type": "application/json"}, method=method)  # noqa: S310  http
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310  http
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


if __name__ == "__main__":
    rows = THINKING if sys.argv[2:] else {**PLAIN, **BEGINNINGS}
    sys.stdout.write(json.dumps({name: kept(*ask(sys.argv[1], row)) for name, row in rows.items()}, indent=1))
