"""The JSON receipt of a run, for programs: everything the account says, whose cassettes they were, and when it was.

`prune --unused` reads it again. The digests are those of the cassettes as they were before the run, so that a receipt
is never taken for that of another file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from replayproxy import __version__
from replayproxy.cli.judging.verdict import CommandResult, Verdict
from replayproxy.proxy.result import RunResult
from replayproxy.views.units import moment


@dataclass(frozen=True, slots=True)
class RunContext:
    """What the report does not know. Times in ns since the Unix epoch; `digests` are SHA-256 by path."""

    started: int
    ended: int
    digests: Mapping[str, str]
    upstream: bool
    """Whether there was a live server to ask."""


def receipt(
    report: RunResult, verdict: Verdict, around: RunContext, ended: CommandResult | None = None
) -> dict[str, Any]:
    """All of it as one JSON object."""
    return {
        "replayproxy": __version__,
        "verdict": verdict.word,
        "exit_code": verdict.code,
        "sentence": verdict.sentence,
        "isolated": not around.upstream and report.served > 0,
        "command": None if ended is None else list(ended.command),
        "child_exit_code": None if ended is None else ended.code,
        "started": _iso(around.started),
        "ended": _iso(around.ended),
        "sha256": dict(around.digests),
        **report.document(),
    }


def digests(cassettes: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of each file that is there."""
    return {str(path): digest_of(path) for path in cassettes if path.is_file()}


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def spelled(document: Mapping[str, Any]) -> bytes:
    """JSON for a file. What is no UTF-8 in a command line or a path is spelled so that it is."""
    return orjson.dumps(_sayable(document), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _sayable(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {_sayable(name): _sayable(part) for name, part in value.items()}
        case list() | tuple():
            return [_sayable(part) for part in value]
        case _:
            return value


def _iso(ns: int) -> str:
    return moment(ns).replace(" ", "T") + "Z"
