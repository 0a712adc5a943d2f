"""Write the report file of a run as JSON: its result and verdict, start and end; read it back for `prune --unused`.

The digests of its cassettes are those before the run, so that a report is never applied to another file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from replayproxy import __version__
from replayproxy.errors import ReplayProxyError
from replayproxy.proxy.result import RunResult
from replayproxy.proxy.verdict import CommandResult, RunPolicy, Verdict, judge
from replayproxy.views.units import moment


@dataclass(frozen=True, slots=True)
class RunContext:
    """What surrounds a result. Times in ns since the Unix epoch."""

    started: int
    ended: int
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
        **report.document(),
    }


@dataclass(frozen=True, slots=True)
class ReportFile:
    """The report of a run, read back: a file of `--report`, of `--replayproxy-report`, or the answer to `/report`."""

    verdict: str
    exit_code: int
    result: RunResult
    not_judged: Mapping[str, str]
    """The cassettes whose unused recordings are not known, with the reason."""

    @classmethod
    def read(cls, path: Path) -> ReportFile:
        """Read a file. Raises `ReplayProxyError`."""
        try:
            return cls.from_document(orjson.loads(path.read_bytes()))
        except OSError as error:
            raise ReplayProxyError(f"{path} cannot be read: {error.strerror}") from error
        except orjson.JSONDecodeError as error:
            raise ReplayProxyError(f"{path} is not JSON ({error}): give a file written by --report") from error
        except ValueError as error:
            raise ReplayProxyError(
                f"{path} is not a report of a run ({error}): give a file written by --report of exec or replay, by"
                " --replayproxy-report of pytest, or the answer to /report of an admin port"
            ) from error

    @classmethod
    def from_document(cls, document: object) -> ReportFile:
        """Read a report, also one of an older version. Raises `ValueError` with what is missing."""
        match document:
            case {"verdict": str(verdict), "exit_code": int(exit_code), "result": dict(result), "cassettes": [*uses]}:
                not_judged = {str(name): str(why) for name, why in map(_not_judged, uses) if why is not None}
                return cls(verdict, exit_code, RunResult.from_document(result), not_judged)
            case {"verdict": str(verdict), "exit_code": int(exit_code), "sha256": dict()}:
                return cls(verdict, exit_code, RunResult.from_document(document), {})
            case {"sha256": dict()}:  # a run that goes on has not been judged
                run = RunResult.from_document(document)
                judged = judge(run, RunPolicy(fail_unused=True, must_serve=True))
                return cls(judged.word, judged.code, run, {})
        raise ValueError("it has no verdict, exit_code and sha256")


def _not_judged(use: object) -> tuple[object, object]:
    match use:
        case {"cassette": cassette, "unjudged": why}:
            return cassette, why
    raise ValueError("a cassette lacks its name or its unjudged")


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
