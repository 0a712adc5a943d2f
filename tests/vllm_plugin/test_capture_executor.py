"""The executor that listens to the real one, with doubles in vLLM's place."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from replayproxy.vllm_plugin.loading import load_recordings
from replayproxy.vllm_plugin.token_recordings import TokenLogprob
from tests.doubles import vllm_double
from tests.doubles.vllm_double import LogprobsLists, ModelRunnerOutput, configuration, new_request, step


@pytest.fixture
def cassette(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the capture goes."""
    vllm_double.install(monkeypatch)
    path = tmp_path / "new.cassette"
    monkeypatch.setenv("REPLAYPROXY_CASSETTE", str(path))
    monkeypatch.setenv("REPLAYPROXY_ENGINE_MODE", "capture")
    return path


def executor(config: Any) -> Any:
    """As vLLM makes it."""
    from replayproxy.vllm_plugin.capture_executor import capturing_executor

    return capturing_executor(config)


def output(**tokens: list[int]) -> ModelRunnerOutput:
    """A real one."""
    return ModelRunnerOutput(list(tokens), {id: number for number, id in enumerate(tokens)}, list(tokens.values()))


def test_what_the_real_executor_gives_is_captured(cassette: Path) -> None:
    """And given on as it is. A request is written when vLLM says that it has finished, the last ones at the end."""
    outputs = [output(a=[5], b=[]), output(a=[25], b=[7]), output(b=[8])]
    config = configuration(outputs=list(outputs))
    engine = executor(config)
    steps = [
        step({"a": 2, "b": 1}, (new_request("a", [1, 2]), new_request("b", [3, 4], max_tokens=2))),
        step({"a": 1, "b": 1}, (), {"a": (2, 1), "b": (1, 0)}),
        step({"b": 1}, (), {"b": (2, 1)}, finished=("a",)),
    ]
    for one, expected in zip(steps, outputs, strict=True):
        assert engine.execute_model(one) is None
        assert engine.sample_tokens(None) is expected
    engine.shutdown()
    engine.shutdown()
    assert config.has_ended
    found = load_recordings([cassette])
    assert [(one.prompt, one.tokens, one.finish) for one in found] == [
        ((1, 2), (5, 25), "stop"),
        ((3, 4), (7, 8), "length"),
    ]


@pytest.mark.parametrize(("is_cpu", "size", "backend"), [(True, 1, "mp"), (False, 1, "uni"), (False, 2, "mp")])
def test_vllms_own_executor_is_chosen_by_the_machine(
    cassette: Path, monkeypatch: pytest.MonkeyPatch, is_cpu: bool, size: int, backend: str
) -> None:
    """On the CPU a model runs in a process of its own; several workers always do."""
    import sys

    monkeypatch.setattr(sys.modules["vllm.platforms"], "current_platform", SimpleNamespace(is_cpu=lambda: is_cpu))
    config = configuration(parallel_config=SimpleNamespace(world_size=size, distributed_executor_backend="ours"))
    engine = executor(config)
    assert config.parallel_config.distributed_executor_backend == backend
    assert type(engine).__mro__[1].__name__ == {"mp": "MultiprocExecutor", "uni": "UniProcExecutor"}[backend]
    engine.shutdown()


def test_an_output_that_comes_later_is_noted_once(cassette: Path) -> None:
    """vLLM asks a future for it, perhaps twice."""
    from concurrent.futures import Future

    from replayproxy.vllm_plugin.capture_executor import NotedFuture

    inner: Future[Any] = Future()
    noted: list[Any] = []
    future = NotedFuture(inner, noted.append)
    assert not future.done()
    inner.set_result(5)
    assert [future.done(), future.result(), future.result(1)] == [True, 5, 5]
    assert noted == [5]


def test_logprobs_are_read_from_vllms_arrays(cassette: Path) -> None:
    """Each request's part of them."""
    from replayproxy.vllm_plugin.capture_executor import captured_tokens

    step_output = output(a=[], b=[7])
    step_output.logprobs = LogprobsLists([[7, 8]], [[-0.5, -2.0]], [1], [0, 0, 1])
    rows = captured_tokens(step_output)
    assert [(row.tokens, row.logprobs) for row in rows] == [([], []), ([7], [[(7, -0.5), (8, -2.0)]])]
    assert TokenLogprob(*rows[1].logprobs[0][1]) == TokenLogprob(8, -2.0)
