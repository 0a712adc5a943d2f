"""Which fields of a request say only what the server would do without them: its documented defaults, by endpoint.

Routers send them along (vllm-router 0.1.17 adds ten to every chat), so what reaches a server behind one is not what the
client sent. Not here: temperature, top_p, top_k, min_p and repetition_penalty with a value, because vLLM takes their
defaults from the model's generation_config.json.

Sources: vLLM 0.32 entrypoints/openai/*/protocol.py; SGLang 0.5 openai_api/protocol.py and io_struct.py; OpenAI's and
Anthropic's API references.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from replayproxy.core.identity import canonical

Table = Mapping[str, tuple[Any, ...]]
"""The values that are as good as none, by the name of the field."""

_NULL = (None,)
_GENERATES: Table = {
    **dict.fromkeys(
        ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "stop_token_ids", "logit_bias"), _NULL
    ),
    **dict.fromkeys(
        ("max_tokens", "stream_options", "truncate_prompt_tokens", "bad_words", "allowed_token_ids"), _NULL
    ),
    **dict.fromkeys(("ignore_eos", "no_stop_trim", "return_hidden_states", "use_beam_search", "stream"), (False,)),
    **dict.fromkeys(("echo", "include_stop_str_in_output", "return_cached_tokens_details"), (False,)),
    **dict.fromkeys(("skip_special_tokens", "spaces_between_special_tokens"), (True,)),
    **dict.fromkeys(("frequency_penalty", "presence_penalty"), (0, None)),
    **dict.fromkeys(("prompt_logprobs", "return_token_ids", "logits_processors", "lora_path", "regex", "ebnf"), _NULL),
    "json_schema": _NULL,
    "length_penalty": (1,),
    "min_tokens": (0,),
    "n": (1, None),
    "response_format": (None, {"type": "text"}),
    "stop": (None, []),
}

CHAT: Table = {
    **_GENERATES,
    **dict.fromkeys(("separate_reasoning", "stream_reasoning", "include_reasoning"), (True,)),
    "add_generation_prompt": (True,),
    "add_special_tokens": (False,),
    "continue_final_message": (False,),
    "logprobs": (False, None),
    "max_completion_tokens": _NULL,
    "parallel_tool_calls": (True, None),
    "reasoning_effort": _NULL,
    "tool_choice": _NULL,
    "tools": (None, []),
    "top_logprobs": (0, None),
    "chat_template": _NULL,
    "chat_template_kwargs": _NULL,
    "documents": _NULL,
}

COMPLETIONS: Table = {
    **_GENERATES,
    "add_special_tokens": (True,),
    "best_of": (1, None),
    "logprobs": _NULL,
    "suffix": _NULL,
}

RESPONSES: Table = {
    **dict.fromkeys(("stream", "background"), (False, None)),
    **dict.fromkeys(
        ("instructions", "previous_response_id", "max_output_tokens", "max_tool_calls", "reasoning"), _NULL
    ),
    **dict.fromkeys(("temperature", "top_p", "top_logprobs", "prompt", "stream_options", "conversation"), _NULL),
    "include": (None, []),
    "parallel_tool_calls": (True, None),
    "text": (None, {"format": {"type": "text"}}),
    "tool_choice": ("auto", None),
    "tools": (None, []),
    "truncation": ("disabled", None),
}

MESSAGES: Table = {
    **dict.fromkeys(("temperature", "top_p", "top_k", "tool_choice", "container", "mcp_servers"), _NULL),
    "stop_sequences": (None, []),
    "stream": (False, None),
    "system": (None, []),
    "thinking": (None, {"type": "disabled"}),
    "tools": (None, []),
}

GENERATE: Table = {
    **dict.fromkeys(("stream", "return_logprob", "return_hidden_states", "return_text_in_logprobs"), (False,)),
    "logprob_start_len": (-1, None),
    "lora_path": _NULL,
    "sampling_params": (None, {}),
    "top_logprobs_num": (0, None),
}

_BY_ENDING = {
    "/chat/completions": CHAT,
    "/completions": COMPLETIONS,
    "/responses": RESPONSES,
    "/messages": MESSAGES,
    "/generate": GENERATE,
}


def table_of(path: str) -> Table:
    """The defaults of this endpoint; nothing for one that is not known."""
    path = path.rstrip("/")
    return next((table for ending, table in _BY_ENDING.items() if path.endswith(ending)), {})


def drop_defaults(path: str, document: dict[str, Any]) -> None:
    """Take the fields of a JSON body out that say what holds without them. Numbers compare as numbers."""
    table = table_of(path)
    for name in table.keys() & document.keys():
        encoded = canonical.dumps(document[name])
        if any(encoded == canonical.dumps(default) for default in table[name]):
            del document[name]
