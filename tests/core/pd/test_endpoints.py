"""Every endpoint that generates is split, and cut to one token in its own words."""

from __future__ import annotations

import json

import pytest

from replayproxy.core.pd import PROTOCOLS, ProtocolOptions, protocol, splits
from replayproxy.core.pd.endpoints import GENERATING, choices_in, looks_like_generation, one_token, prompts_in
from replayproxy.core.pd.protocol import is_unsplit_generation
from replayproxy.model import Request
from tests.core.pd.split_requests import TURN, Body, split_request

SGLANG = {"text": "hi", "sampling_params": {"max_new_tokens": 64, "temperature": 0}, "stream": True}
VLLM = {"token_ids": [1, 2], "sampling_params": {"max_tokens": 64, "min_tokens": 8}, "stream": True}
CHAT = {"messages": TURN, "max_tokens": 64, "stream": True, "stream_options": {"include_usage": True}}

CUTS: list[tuple[str, str, Body, Body]] = [
    ("SGLang", "/generate", SGLANG, {"sampling_params": {"max_new_tokens": 1, "temperature": 0}}),
    ("SGLang without parameters", "/generate", {"text": "hi"}, {"sampling_params": {"max_new_tokens": 1}}),
    (
        "SGLang with a least",
        "/generate",
        {"input_ids": [1], "sampling_params": {"min_new_tokens": 9, "n": 2}},
        {"sampling_params": {"min_new_tokens": 1, "n": 2, "max_new_tokens": 1}},
    ),
    (
        "SGLang, parameters per prompt",
        "/generate",
        {"text": ["a", "b"], "sampling_params": [{"max_new_tokens": 5}, {"top_k": 3}]},
        {"sampling_params": [{"max_new_tokens": 1}, {"top_k": 3, "max_new_tokens": 1}]},
    ),
    ("vLLM's old server", "/generate", {"prompt": "hi", "max_tokens": 9}, {"max_tokens": 1}),
    (
        "vLLM, tokens in and out",
        "/inference/v1/generate",
        VLLM,
        {"sampling_params": {"max_tokens": 1, "min_tokens": 1}},
    ),
    (
        "vLLM, null parameters",
        "/inference/v1/generate",
        VLLM | {"sampling_params": None},
        {"sampling_params": {"max_tokens": 1}},
    ),
    ("SageMaker", "/invocations", CHAT, {"max_tokens": 1}),
    ("a slash too many", "/v1/chat/completions/", CHAT, {"max_tokens": 1}),
    ("two slashes", "//v1//chat/completions", CHAT, {"max_tokens": 1}),
    ("responses", "/v1/responses/", {"input": "hi", "max_output_tokens": 64}, {"max_output_tokens": 1}),
    ("messages", "/v1/messages", {"messages": TURN, "max_tokens": 64}, {"max_tokens": 1}),
    ("completions", "/v1/completions", {"prompt": "hi", "min_tokens": 3}, {"max_tokens": 1, "min_tokens": 1}),
    (
        "both caps of a chat",
        "/v1/chat/completions",
        {"messages": TURN, "max_completion_tokens": 64},
        {"max_tokens": 1, "max_completion_tokens": 1},
    ),
]


@pytest.mark.parametrize(("path", "body", "changed"), [row[1:] for row in CUTS], ids=[row[0] for row in CUTS])
def test_a_prefill_is_cut_in_the_words_of_its_endpoint(path: str, body: Body, changed: Body) -> None:
    """Only the limits and the stream differ; the client's own body stays as it is."""
    before = json.loads(json.dumps(body))
    rest = {name: value for name, value in body.items() if name != "stream_options"}
    assert one_token(body, path) == rest | changed | {"stream": False}
    assert body == before
    assert splits(Request("POST", path, (), json.dumps(body).encode()))


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize(
    ("path", "body"), [("/generate", SGLANG), ("/inference/v1/generate", VLLM), ("//v1/responses", {"input": "x"})]
)
def test_every_protocol_splits_every_endpoint(name: str, path: str, body: Body) -> None:
    """The target goes on as it came, to both; the decode request keeps the client's limits."""
    request = split_request(path, body)
    chosen = protocol(name, ProtocolOptions())
    ticket = {"remote_engine_id": "e"} if name == "nixl" else None
    prefill, decode = chosen.prefill_request(request), chosen.decode_request(request, ticket)
    assert prefill.target == decode.target == path
    assert body.items() <= json.loads(decode.body).items()
    cut = one_token(body, path)
    expected = body if name == "bootstrap-room" else cut  # there the prefill server stops by itself
    assert expected.items() <= json.loads(prefill.body).items()


UNSPLIT: list[tuple[str, Body, bool]] = [
    ("/api/generate", {"prompt": "hi"}, True),
    ("/openai/deployments/x/chat/completions", {"messages": TURN}, True),
    ("/v2/models/x/generate", {"text": "hi", "parameters": {"max_tokens": 3}}, True),
    ("/generate", {"inputs": "hi", "parameters": {"max_new_tokens": 3}}, True),
    ("/v1beta/models/x:generateContent", {"contents": [], "generationConfig": {}}, True),
    ("/v1/new", {"input": "hi", "temperature": 0}, True),
    ("/v1/embeddings", {"input": "hi"}, False),
    ("/v1/embeddings/", {"input": "hi", "temperature": 0}, False),
    ("/tokenize", {"prompt": "hi"}, False),
    ("/v1/chat/completions/render", {"messages": TURN}, False),
    ("/v1/messages/count_tokens", {"messages": TURN}, False),
    ("/v1/score", {"text_1": "a", "text_2": "b"}, False),
    ("/v1/rerank", {"query": "a", "documents": []}, False),
    ("/v1/load_lora_adapter", {"lora_name": "a"}, False),
]


@pytest.mark.parametrize(("path", "body", "looks"), UNSPLIT, ids=[row[0] for row in UNSPLIT])
def test_what_looks_like_generation_and_is_not_split(path: str, body: Body, looks: bool) -> None:
    """It has a prompt, and is not known to be answered without generating."""
    assert looks_like_generation(path, body) is looks
    request = Request("POST", path, (), json.dumps(body).encode())
    assert is_unsplit_generation(request) is looks
    assert not splits(request)
    assert not is_unsplit_generation(Request("GET", path))


@pytest.mark.parametrize("path", GENERATING)
def test_the_table_is_spelt_as_paths_are_normalised(path: str) -> None:
    """Else an endpoint would never be found."""
    assert path.startswith("/")
    assert "//" not in path
    assert not path.endswith("/")


@pytest.mark.parametrize(
    ("body", "prompts", "choices"),
    [
        ({"text": "hi"}, None, 1),
        ({"text": ["a", "b"]}, 2, 1),
        ({"input_ids": [1, 2, 3]}, None, 1),
        ({"input_ids": [[1], [2], [3]]}, 3, 1),
        ({"input_embeds": [[0.1, 0.2]]}, None, 1),
        ({"input_embeds": [[[0.1]], [[0.2]]]}, 2, 1),
        ({"text": "hi", "sampling_params": {"n": 4}}, None, 4),
        ({"text": ["a"], "sampling_params": [{"n": 2}]}, 1, 2),
        ({"prompt": "hi", "n": True}, None, 1),
    ],
)
def test_a_batch_is_counted_in_the_words_of_its_endpoint(body: Body, prompts: int | None, choices: int) -> None:
    """A room per item has to be handed out."""
    assert (prompts_in(body), choices_in(body)) == (prompts, choices)
