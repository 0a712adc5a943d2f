"""Tests of `simulator/embeddings`: vectors that follow from the input alone, in both encodings."""

from __future__ import annotations

import math
from base64 import b64decode
from struct import unpack
from typing import Any

import pytest

from tests.doubles.simulation import ask

PATH = "/v1/embeddings"


def embedded(input: Any = "One two.", **more: Any) -> Any:
    """The body of an answer."""
    return ask(PATH, {"model": "tiny", "input": input, **more}).json


def test_an_answer_has_the_keys_of_vllm() -> None:
    """And a vector of the configured length."""
    answer = embedded()
    assert list(answer) == ["id", "object", "created", "model", "data", "usage"]
    assert list(answer["data"][0]) == ["index", "object", "embedding"]
    assert len(answer["data"][0]["embedding"]) == 384
    assert answer["usage"]["prompt_tokens"] == 3


def test_equal_inputs_have_equal_vectors() -> None:
    """Of length 1; others point elsewhere."""
    one, two, other = (entry["embedding"] for entry in embedded(["a b", "a b", "c"])["data"])
    assert one == two
    assert math.hypot(*one) == pytest.approx(1)
    assert abs(sum(a * b for a, b in zip(one, other, strict=True))) < 0.3


def test_dimensions_and_base64() -> None:
    """Little-endian floats of 32 bits."""
    plain = embedded(dimensions=4)["data"][0]["embedding"]
    coded = embedded(dimensions=4, encoding_format="base64")["data"][0]["embedding"]
    assert unpack("<4f", b64decode(coded)) == pytest.approx(plain, abs=1e-6)


@pytest.mark.parametrize(("input", "count"), [("a", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1], [2]], 2)])
def test_input_has_four_forms(input: Any, count: int) -> None:
    """Texts and token ids, one or several."""
    assert len(embedded(input)["data"]) == count


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"input": []}, "input is required and must be a non-empty string or array"),
        ({"input": ""}, "input cannot be an empty string"),
        ({"input": [""]}, "input cannot be an empty string"),
        ({"input": ["a"] * 3000}, "input has 3000 entries, and at most 2048 are allowed"),
        ({"input": "a", "dimensions": 0}, "dimensions must be at least 1, got 0. (parameter=dimensions, value=0)"),
        ({"input": "a", "dimensions": 10**6}, "dimensions must be at most 65536, got 1000000."),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format='hex' does not exist: give float or base64"),
        ({"input": "word " * 2000}, "This model's maximum context length is 1024 tokens."),
    ],
)
def test_what_is_refused(body: dict[str, Any], message: str) -> None:
    """With a sentence."""
    status, found = ask(PATH, {"model": "tiny", **body}).error
    assert status == 400
    assert found.startswith(message)
