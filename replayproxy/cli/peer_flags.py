"""Command lines and files of llm-d-inference-sim, taken as they are by `simulate`.

    words ──▶ one value per flag, nothing that has no effect here ──▶ click          flat YAML ──▶ defaults for click

Flags that have no effect here are accepted and named in one note. A flag that nobody knows stays an error, of click; an
unknown key of a file is one too. Precedence: flag, environment, file, default.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from replayproxy.cli.option_sections import SectionedCommand
from replayproxy.cli.options import PREFIX, suggestion
from replayproxy.cli.terminal import messages

SEVERAL = ("served-model-name", "lora-modules", "failure-types")
"""Flags whose values are all words up to the next flag."""

KLOG = (
    *("v", "vmodule", "logtostderr", "alsologtostderr", "log_dir", "log_file", "log_file_max_size", "stderrthreshold"),
    *("add_dir_header", "skip_headers", "skip_log_headers", "one_output", "log_backtrace_at"),
)
"""Flags of the log of Go programs in Kubernetes."""

SWITCHES = frozenset(
    {"logtostderr", "alsologtostderr", "add_dir_header", "skip_headers", "skip_log_headers", "one_output"}
    | {"enforce-eager", "no-enforce-eager", "enable-prefix-caching", "no-enable-prefix-caching", "enable-sleep-mode"}
    | {"no-enable-sleep-mode", "log-http", "force-dummy-tokenizer", "use-vllm-map-event-format", "skip-tool-validation"}
    | {"dataset-in-memory", "mm-encoder-only", "no-mm-encoder-only", "omni", "no-omni", "enable-request-id-headers"}
    | {"self-signed-certs"}
)
"""Flags without effect that take no word as their value."""

WITHOUT_EFFECT = frozenset(
    {*KLOG, *SWITCHES, "mm-processor-kwargs", "ec-transfer-config", "tensor-parallel-size", "tokenizers-cache-dir"}
    | {"zmq-max-connect-attempts", "render-url", "render-timeout", "mm-render-timeout", "startup-duration"}
    | {"latency-calculator", "dataset-path", "dataset-url", "dataset-table-name", "image-emission-rate"}
    | {"time-to-generate-image", "time-to-generate-image-std-dev", "global-cache-hit-threshold"}
    | {"max-request-body-size-mb"}
)
"""Flags that are accepted where `simulate` has none of that name. What each would do stands in docs/simulator.md."""

RENAMED = {"max-running-requests": "max-num-seqs", "lora": "lora-modules"}
"""Flags of llm-d-inference-sim before 0.2, and what they are now."""

ENVIRONMENT = {"SIM_MODEL": "model", "PYTHONHASHSEED": "hash-seed"}
"""Variables that set a flag which is not given."""

_TRUE, _FALSE = ("true", "1", "t"), ("false", "0", "f")


class PeerCommand(SectionedCommand):
    """A verb that also understands the command lines and files of llm-d-inference-sim."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, after the words were translated. Raises `click.UsageError`."""
        options = {
            name.removeprefix("--"): parameter
            for parameter in self.params
            if isinstance(parameter, click.Option)
            for name in (*parameter.opts, *parameter.secondary_opts)
            if name.startswith("--")
        }
        words, ignored = translated(args, options)
        words, file = without_config(words)
        if file is not None:
            values, also_ignored = defaults_in(file, options)
            ignored += also_ignored
            # The file of the verb is nearer than that of the program.
            ctx.default_map = {**(ctx.default_map or {}), **values}
        for variable, flag in ENVIRONMENT.items():
            value = os.environ.get(variable)
            is_set = any(word.partition("=")[0] == f"--{flag}" for word in words)
            if value is not None and flag in options and not is_set and _variable(flag) not in os.environ:
                words = [f"--{flag}={value}", *words]
        if ignored:
            flags = ", ".join(f"--{name}" for name in dict.fromkeys(ignored))
            messages.info(f"accepted, and without effect here: {flags}")
        return super().parse_args(ctx, words)


def _variable(flag: str) -> str:
    return PREFIX + flag.upper().replace("-", "_")


# Words


def translated(words: Sequence[str], options: Mapping[str, click.Option]) -> tuple[list[str], list[str]]:
    """The words as click takes them, and the names of flags that have no effect."""
    found: list[str] = []
    ignored: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            return [*found, word, *words[at:]], ignored
        name, mark, value = word.lstrip("-").partition("=")
        if not _is_flag(word) or (not word.startswith("--") and name != "v"):
            found.append(word)
            continue
        name = _own_name(name, options)
        if name in WITHOUT_EFFECT and name not in options:
            if not mark and name not in SWITCHES and at < len(words) and not _is_flag(words[at]):
                value = words[at]
                at += 1
            ignored.append(name)
            continue
        option = options.get(name)
        if option is None:
            found.append(word)
        elif name in SEVERAL:
            values = [value] if mark else []
            while not mark and at < len(words) and not _is_flag(words[at]):
                values.append(words[at])
                at += 1
            found += [f"--{name}={one}" for one in values]
        elif option.is_flag and mark:
            found += _switch(name, value, option)
        else:
            found.append(f"--{name}{mark}{value}")
    return found, ignored


def _is_flag(word: str) -> bool:
    return word.startswith("--") or (len(word) > 1 and word[0] == "-" and not word[1].isdigit() and word[1] != ".")


def _own_name(name: str, options: Iterable[str]) -> str:
    """The name that a flag has here: vLLM takes `_` for `-` too."""
    if name in WITHOUT_EFFECT or name in options:
        return name
    hyphened = name.replace("_", "-")
    return RENAMED.get(hyphened, hyphened)


def _switch(name: str, value: str, option: click.Option) -> list[str]:
    """`--flag=true`, as Go programs take it. Raises `click.UsageError`."""
    if value.lower() in _TRUE:
        return [f"--{name}"]
    if value.lower() in _FALSE:
        return list(option.secondary_opts[:1])
    raise click.UsageError(f"--{name}={value}: write true or false, or --{name} alone")


def without_config(words: Sequence[str]) -> tuple[list[str], Path | None]:
    """The words without `--config FILE`, and the file."""
    rest: list[str] = []
    file: Path | None = None
    waiting = False
    for word in words:
        if waiting:
            file, waiting = Path(word), False
        elif word == "--config":
            waiting = True
        elif word.startswith("--config="):
            file = Path(word.partition("=")[2])
        else:
            rest.append(word)
    if waiting:
        raise click.UsageError("--config needs the path of a YAML file")
    return rest, file


# Files


def defaults_in(file: Path, options: Mapping[str, click.Option]) -> tuple[dict[str, Any], list[str]]:
    """A `default_map` from a flat YAML file whose keys are flags, and the keys that have no effect.

    A file with a section `simulate`, as `replayproxy --config` takes it, is read too. Raises `click.UsageError`.
    """
    from replayproxy.cli.config_file import read_yaml

    document = read_yaml(file)
    if document is None:
        return {}, []
    if not isinstance(document, dict):
        raise click.UsageError(f"--config {file} must have keys, such as `port: 8000`")
    section = document.get("simulate")
    if isinstance(section, dict):
        document = section
    values: dict[str, Any] = {}
    ignored: list[str] = []
    for key, value in document.items():
        name = _own_name(str(key), options)
        option = options.get(name)
        if option is None and name in WITHOUT_EFFECT:
            ignored.append(name)
        elif option is None:
            names = (*options, *WITHOUT_EFFECT)
            raise click.UsageError(f"--config {file}: simulate has no option {str(key)!r}{suggestion(str(key), names)}")
        elif value is not None:
            values[option.name or ""] = _value(file, str(key), value, option)
    return values, ignored


def _value(file: Path, key: str, value: Any, option: click.Option) -> Any:
    if option.multiple:
        several = value if isinstance(value, list) else [value]
        return [one if isinstance(one, str) else json.dumps(one) for one in several]
    if key == "fake-metrics" and isinstance(value, dict):
        # llm-d-inference-sim has the adapters in it as a list of JSON texts.
        loras = [_json(file, one) if isinstance(one, str) else one for one in value.get("loras") or []]
        return json.dumps({**value, **({"loras": loras} if loras else {})})
    if isinstance(value, list):
        raise click.UsageError(f"--config {file}: {key} takes one value")
    return json.dumps(value) if isinstance(value, dict) else value


def _json(file: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise click.UsageError(f"--config {file}: fake-metrics: loras: {text!r} is not JSON") from None
