"""The grammar of faults: one text, such as `cut@12,rate=0.1`, to one frozen value.

    fault   = NAME [ "@" N ] { "," OPTION "=" VALUE }        NAME of cut, cut-clean, stall, garbage, reset, slow-start
            | "status=" CODE     { "," OPTION "=" VALUE }
            | "failure=" TYPE    { "," OPTION "=" VALUE }    TYPE of `failure_answers.FAILURE_TYPES`

N counts chunks of the body that the client gets before the fault. Does not know what a fault does.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from replayproxy.core.faults.failure_answers import FAILURE_TYPES
from replayproxy.setting_kinds import BadValue, Duration

MOST_CHUNKS = 10**9
LONGEST = 1000
"""Characters of a fault: a header brings one with each request."""

DEFAULT_PAUSE = 30.0
"""Seconds of a stall or a slow start without `for`: longer than the read time-outs that people set for chats."""


class BadFault(ValueError):
    """A text that is not a fault. The message quotes it, and says how to write one."""


class FaultKind(StrEnum):
    """What happens."""

    CUT = "cut"
    CUT_CLEAN = "cut-clean"
    STALL = "stall"
    SLOW_START = "slow-start"
    GARBAGE = "garbage"
    STATUS = "status"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `at` is the number of chunks before it; `pause` is in ns, `retry_after` in seconds.

    `rate` is the share of requests that get it, `every` the n-th of those that fit, `first` the most that get it.
    `path` and `model` are globs. `failure` names an answer of `failure_answers`.
    """

    kind: FaultKind
    text: str = field(compare=False, default="")
    at: int = 0
    pause: int = 0
    status: int = 0
    failure: str = ""
    retry_after: float | None = None
    rate: float = 1.0
    first: int | None = None
    every: int = 1
    path: str | None = None
    model: str | None = None

    def __str__(self) -> str:
        return self.text


_POSITIONED = {FaultKind.CUT, FaultKind.CUT_CLEAN, FaultKind.STALL, FaultKind.GARBAGE, FaultKind.RESET}
_PAUSING = {FaultKind.STALL, FaultKind.SLOW_START}
_EVERYWHERE = ("rate", "first", "every", "path", "model")

EXAMPLES = "cut@12, cut-clean@12, stall@3,for=5s, slow-start,for=20s, garbage@5, reset@0, status=429,retry-after=2"

_GLOB = re.compile(r"[^\s,]+")


def parse_fault(text: str) -> Fault:
    """Read one fault. Raises `BadFault`."""
    if len(text) > LONGEST:
        raise BadFault(f"{text[:40]!r}… is longer than {LONGEST} characters")
    head, *options = (part.strip() for part in text.split(","))
    name, equals, code = head.partition("=")
    found = _replacing(text, name, code) if equals and name in ("status", "failure") else _positioned(text, head)
    allowed = _options_of(found["kind"], failure=bool(found.get("failure")))
    seen: set[str] = set()
    for option in options:
        name, equals, value = (part.strip() for part in option.partition("="))
        if not equals or not value:
            raise BadFault(f"{text!r}: {option!r} is not an option: write NAME=VALUE, with one of {', '.join(allowed)}")
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, 1)
            hint = f"did you mean {near[0]}?" if near else f"{_head_of(found)} takes {', '.join(allowed)}"
            raise BadFault(f"{text!r}: there is no option {name!r} here: {hint}")
        if name in seen:
            raise BadFault(f"{text!r}: {name} is given twice")
        seen.add(name)
        try:
            found.update(_option(name, value))
        except ValueError as error:
            raise BadFault(f"{text!r}: {error}") from None
    if found["kind"] in _PAUSING and "pause" not in found:
        found["pause"] = round(DEFAULT_PAUSE * 1e9)
    return Fault(text=text.strip(), **found)


def _positioned(text: str, head: str) -> dict[str, Any]:
    name, sign, position = head.partition("@")
    kinds = {kind.value: kind for kind in FaultKind if kind is not FaultKind.STATUS}
    if name not in kinds:
        near = difflib.get_close_matches(name, [*kinds, "status", "failure"], 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise BadFault(f"{text!r} is not a fault: {hint}write one such as {EXAMPLES}")
    kind = kinds[name]
    if kind not in _POSITIONED:
        if sign:
            raise BadFault(f"{text!r}: {name} takes no position, because it comes before the answer: leave @ away")
        return {"kind": kind}
    if not sign:
        raise BadFault(f"{text!r}: after how many chunks? Write {name}@N, such as {name}@3")
    if not re.fullmatch(r"[0-9]{1,10}", position) or int(position) > MOST_CHUNKS:
        raise BadFault(f"{text!r}: {position!r} is not a number of chunks: write {name}@N, such as {name}@3")
    return {"kind": kind, "at": int(position)}


def _replacing(text: str, name: str, value: str) -> dict[str, Any]:
    if name == "failure":
        if value not in FAILURE_TYPES:
            near = difflib.get_close_matches(value, FAILURE_TYPES, 1)
            hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(FAILURE_TYPES)}"
            raise BadFault(f"{text!r}: {value!r} is not a type of failure: {hint}")
        return {"kind": FaultKind.STATUS, "failure": value, "status": FAILURE_TYPES[value].status}
    if not re.fullmatch(r"[45][0-9]{2}", value):
        raise BadFault(f"{text!r}: {value!r} is not the status of an error: give 400 to 599")
    return {"kind": FaultKind.STATUS, "status": int(value)}


def _head_of(found: dict[str, Any]) -> str:
    return "failure" if found.get("failure") else str(found["kind"])


def _options_of(kind: object, *, failure: bool) -> tuple[str, ...]:
    own = ("for",) if kind in _PAUSING else ("retry-after",) if kind is FaultKind.STATUS and not failure else ()
    return (*own, *_EVERYWHERE)


def _option(name: str, value: str) -> dict[str, Any]:
    """The fields that an option sets. Raises `ValueError` with the rest of a sentence."""
    match name:
        case "for" | "retry-after":
            try:
                seconds = Duration().read(value)
            except BadValue as error:
                raise ValueError(f"{name}={error}") from None
            return {"pause": round(seconds * 1e9)} if name == "for" else {"retry_after": seconds}
        case "rate":
            return {"rate": _share(value)}
        case "first" | "every":
            if not re.fullmatch(r"[0-9]{1,10}", value) or int(value) < 1:
                raise ValueError(f"{name}={value!r} is not a count: give a whole number from 1")
            return {name: int(value)}
        case _:
            if not _GLOB.fullmatch(value):
                raise ValueError(f"{name}={value!r} has white space in it: write a glob such as /v1/*")
            return {name: value}


def _share(value: str) -> float:
    percent = value.endswith("%")
    try:
        share = float(value.removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"rate={value!r} is not a share: give 0 to 1, such as 0.1, or 10%")
    return share
