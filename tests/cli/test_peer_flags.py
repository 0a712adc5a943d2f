"""Command lines and files of llm-d-inference-sim start a `simulate` that means the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from replayproxy.cli.main import replayproxy, verb_named
from replayproxy.cli.peer_flags import WITHOUT_EFFECT, defaults_in, translated, without_config


def options() -> dict[str, click.Option]:
    """The options of `simulate` by name."""
    return {
        name.removeprefix("--"): parameter
        for parameter in verb_named("simulate").params
        if isinstance(parameter, click.Option)
        for name in (*parameter.opts, *parameter.secondary_opts)
    }


def parsed(*words: str) -> dict[str, Any]:
    """What `simulate` makes of these words."""
    command = verb_named("simulate")
    context = command.make_context("simulate", list(words), parent=click.Context(replayproxy))
    return context.params


LORA = ('{"name":"tweet-summary-0"}', '{"name":"tweet-summary-1"}')


def test_the_command_line_of_the_documentation() -> None:
    """Its example for Docker: a flag takes all words up to the next flag."""
    found = parsed("--port", "8000", "--model", "Qwen/Qwen2.5-1.5B-Instruct", "--lora-modules", *LORA)
    assert (found["port"], found["model"]) == (8000, "Qwen/Qwen2.5-1.5B-Instruct")
    assert found["lora_modules"] == ({"name": "tweet-summary-0"}, {"name": "tweet-summary-1"})


@pytest.mark.parametrize(
    ("words", "expected", "ignored"),
    [
        (
            ["--served-model-name", "a", "b", "--port", "1"],
            ["--served-model-name=a", "--served-model-name=b", "--port", "1"],
            [],
        ),
        (["--served-model-name=a", "--port=1"], ["--served-model-name=a", "--port=1"], []),
        (["--lora-modules"], [], []),
        (["--enable-kvcache=true"], ["--enable-kvcache"], []),
        (["--enable-kvcache=false"], [], []),
        (["--max_num_seqs", "3"], ["--max-num-seqs", "3"], []),
        (["--max-running-requests=3"], ["--max-num-seqs=3"], []),
        (["--lora", "{}"], ["--lora-modules={}"], []),
        (["--v=4", "-v", "5", "-v=2", "--port", "1"], ["--port", "1"], ["v", "v", "v"]),
        (["--logtostderr", "--port", "1"], ["--port", "1"], ["logtostderr"]),
        (["--log_dir", "/var/log", "--vmodule=a=1"], [], ["log_dir", "vmodule"]),
        (["--enforce-eager", "--tensor-parallel-size", "2"], [], ["enforce-eager", "tensor-parallel-size"]),
        (["--seed", "-5"], ["--seed", "-5"], []),
        (["--modle", "x"], ["--modle", "x"], []),
        (["-h"], ["-h"], []),
        (["--", "--v"], ["--", "--v"], []),
    ],
)
def test_words(words: list[str], expected: list[str], ignored: list[str]) -> None:
    """What click gets, and what is named as without effect."""
    assert translated(words, options()) == (expected, ignored)


def test_a_switch_takes_true_or_false() -> None:
    """Nothing else."""
    with pytest.raises(click.UsageError, match="--enable-kvcache=maybe: write true or false"):
        translated(["--enable-kvcache=maybe"], options())


def test_what_has_no_effect_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Once, by name."""
    with caplog.at_level("INFO"):
        parsed("--v=4", "--v=4", "--render-url", "http://x")
    assert [record.getMessage() for record in caplog.records] == [
        "accepted, and without effect here: --v, --render-url"
    ]


def test_an_unknown_flag_stays_an_error() -> None:
    """A misspelt option must not be ignored."""
    with pytest.raises(click.UsageError, match="No such option"):
        parsed("--time-to-frist-token", "5")


def test_no_option_of_ours_is_without_effect() -> None:
    """What `simulate` has works."""
    assert set(options()) & WITHOUT_EFFECT == set()


# Environment


def test_the_environment_sets_what_no_flag_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags win, then variables of our own."""
    monkeypatch.setenv("SIM_MODEL", "from-env")
    monkeypatch.setenv("PYTHONHASHSEED", "42")
    found = parsed()
    assert (found["model"], found["hash_seed"]) == ("from-env", "42")
    assert parsed("--model", "m")["model"] == "m"
    assert parsed("--model=m")["model"] == "m"
    monkeypatch.setenv("REPLAYPROXY_MODEL", "ours")
    assert parsed()["model"] == "ours"


def test_a_variable_has_a_json_value_per_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which may have spaces in it."""
    monkeypatch.setenv("REPLAYPROXY_LORA_MODULES", '{"name": "a", "path": "/a"}\n{"name": "b"}')
    assert parsed()["lora_modules"] == ({"name": "a", "path": "/a"}, {"name": "b"})


# Files

FILE = """
port: 8001
model: "Qwen/Qwen2-0.5B"
served-model-name:
- model1
- model2
max-loras: 2
max-cpu-loras: 5
max-num-seqs: 5
lora-modules:
- '{"name":"lora1","path":"/path/to/lora1"}'
- '{"name":"lora2","path":"/path/to/lora2"}'
mode: random
time-to-first-token: 2000
inter-token-latency: 1s
kv-cache-transfer-latency: 100
seed: 100100100
enable-kvcache: true
zmq-max-connect-attempts: 3
v: 5
"""
"""In the form of the file that the documentation of llm-d-inference-sim names."""


def write(tmp_path: Path, text: str) -> Path:
    """A file."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def test_a_file_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are flags; a flag wins over the file, and so does the environment."""
    path = write(tmp_path, FILE)
    found = parsed("--config", str(path), "--port", "9000")
    assert (found["port"], found["model"], found["seed"]) == (9000, "Qwen/Qwen2-0.5B", 100100100)
    assert found["served_model_name"] == ("model1", "model2")
    assert found["lora_modules"][1] == {"name": "lora2", "path": "/path/to/lora2"}
    assert (found["time_to_first_token"], found["inter_token_latency"]) == ("2000", "1s")
    assert (found["answer_mode"], found["enable_kvcache"], found["max_cpu_loras"]) == ("random", True, 5)
    monkeypatch.setenv("SIM_MODEL", "from-env")
    assert parsed(f"--config={path}")["model"] == "from-env"


def test_fake_metrics_in_a_file(tmp_path: Path) -> None:
    """A mapping; its adapters may be JSON texts."""
    path = write(
        tmp_path,
        "fake-metrics:\n  running-requests: 16\n  kv-cache-usage: 0.3\n  loras:\n"
        """  - '{"running":"lora1,lora2","waiting":"lora3","timestamp":1257894567}'\n""",
    )
    assert parsed("--config", str(path))["fake_metrics"] == {
        "running-requests": 16,
        "kv-cache-usage": 0.3,
        "loras": [{"running": "lora1,lora2", "waiting": "lora3", "timestamp": 1257894567}],
    }


def test_a_file_with_sections_is_read_too(tmp_path: Path) -> None:
    """That of `replayproxy --config`."""
    assert parsed("--config", str(write(tmp_path, "simulate:\n  model: m\n")))["model"] == "m"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prot: 1\n", "simulate has no option 'prot' (did you mean port?)"),
        ("port: [1, 2]\n", "port takes one value"),
        ("- model\n", "must have keys"),
        ("a: [\n", "is not YAML"),
        ("model: a\nmodel: b\n", "model stands there twice"),
        ("fake-metrics:\n  loras: ['{']\n", "loras: '{' is not JSON"),
    ],
)
def test_a_file_that_makes_no_sense(tmp_path: Path, text: str, words: str) -> None:
    """Is refused with the key."""
    with pytest.raises(click.UsageError) as refused:
        parsed("--config", str(write(tmp_path, text)))
    assert words in str(refused.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Is an error, and so is no file at all."""
    with pytest.raises(click.UsageError, match="cannot be read"):
        parsed("--config", str(tmp_path / "none.yaml"))
    with pytest.raises(click.UsageError, match="needs the path"):
        without_config(["--config"])


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    """Nor does a key without a value."""
    assert defaults_in(write(tmp_path, ""), options()) == ({}, [])
    assert defaults_in(write(tmp_path, "model:\n"), options()) == ({}, [])
