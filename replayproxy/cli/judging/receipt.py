"""Write the report file of a run as JSON: its result and verdict, the digests of its cassettes, start and end.

`prune --unused` reads it. The digests are those of the cassettes before the run, so that a report is never applied to
another file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from replayproxy import __version__
from replayproxy.proxy.result import RunResult
from replayproxy.proxy.verdict import CommandResult, Verdict
from replayproxy.views.units import moment


@dataclass(frozen=True, slots=True)
class RunContext:
    """What surrounds a result. Times in ns since the Unix epoch; `digests` are SHA-256 by path."""

    started: int
    ended: int
    digests: Mapping[str, str]
    upstream: bool
    """Whether the run had a live server."""


def report_document(
    report: RunResult, verdict: Verdict, around: RunContext, ended: CommandResult | None = None
) -> dict[str, Any]:
    """Return the whole report as one JSON object."""
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


@dataclass(frozen=True, slots=True)
class ReportFile:
    """What `report_document` wrote, read back. `digests` are SHA-256 by path of the cassettes before the run."""

    verdict: str
    exit_code: int
    digests: Mapping[str, str]
    result: RunResult

    @classmethod
    def from_document(cls, document: object) -> ReportFile:
        """Read a report, also one of an older version. Raises `ValueError` with what is missing."""
        match document:
            case {"verdict": str(verdict), "exit_code": int(exit_code), "sha256": dict(digests)}:
                return cls(verdict, exit_code, digests, RunResult.from_document(document))
        raise ValueError("it has no verdict, exit_code and sha256")


def digests(cassettes: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of each file that is there."""
    return {str(path): digest_of(path) for path in cassettes if path.is_file()}


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_json(document: Mapping[str, Any]) -> bytes:
    """Encode a report for a file. Bytes of a command line or a path that are not UTF-8 are escaped."""
    return orjson.dumps(_as_utf_8(document), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _as_utf_8(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {_as_utf_8(name): _as_utf_8(part) for name, part in value.items()}
        case list() | tuple():
            return [_as_utf_8(part) for part in value]
        case _:
            return value


def _iso(ns: int) -> str:
    return moment(ns).replace(" ", "T") + "Z"
