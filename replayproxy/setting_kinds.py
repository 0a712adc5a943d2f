"""Kinds of values that a setting has: how a value is read from text, YAML or Python, and what a wrong one is told.

    Duration().read("25s") == 25.0          Size().read("1KiB") == 1024          Port().read("x")  raises BadValue

Does not know where a value is written: an entry point adds its spelling of the setting to the message of `BadValue`.
Kinds without a field are plain classes, because a dataclass takes half a millisecond of every start.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZES = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9}


class BadValue(ValueError):
    """A value that is not of the kind. The message quotes it, and says how to write one; it lacks the setting."""


class Kind(Protocol):
    """What a value of a setting is."""

    def read(self, value: Any) -> Any:
        """Return the value, converted from text if it is text. Raises `BadValue`."""
        ...


class Text:
    """Any text."""

    def read(self, value: Any) -> str:
        """The text itself."""
        if not isinstance(value, str):
            raise BadValue(f"{value!r} is not a text")
        return value


class File:
    """The path of a file."""

    def read(self, value: Any) -> Path:
        """A path, also of a `PathLike`."""
        if not isinstance(value, str | PathLike) or not str(value):
            raise BadValue(f"{value!r} is not the path of a file")
        return Path(value)


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false. `negatable`: the command line has `--no-…` too."""

    negatable: bool = False

    def read(self, value: Any) -> bool:
        """The truth value."""
        if not isinstance(value, bool | int):
            raise BadValue(f"{value!r} is not true or false")
        return bool(value)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    values: tuple[str, ...]

    def read(self, value: Any) -> str:
        """The word; an enum of text is its value."""
        if value not in self.values:
            raise BadValue(f"{value!r} is not one of its values: choose from {', '.join(self.values)}")
        return str(value)


class Number:
    """A number, such as a share."""

    def read(self, value: Any) -> float:
        """The number."""
        try:
            return float(value)
        except (TypeError, ValueError):
            raise BadValue(f"{value!r} is not a number") from None


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from `least` to `most`, both included."""

    least: int | None = None
    most: int | None = None

    def read(self, value: Any) -> int:
        """The number."""
        try:
            number = int(value)
        except (TypeError, ValueError):
            number = None
        if number is None or number != (float(value) if isinstance(value, float) else number):
            raise BadValue(f"{value!r} is not a whole number")
        if (self.least is not None and number < self.least) or (self.most is not None and number > self.most):
            limits = [f"from {self.least}"] * (self.least is not None) + [f"to {self.most}"] * (self.most is not None)
            raise BadValue(f"{value!r} is out of range: give a whole number {' '.join(limits)}")
        return number


class Duration:
    """`200ms`, `25s`, `10m`, or a number of seconds."""

    def read(self, value: Any) -> float:
        """Seconds, 0 or more."""
        if isinstance(value, int | float):
            if not 0 <= value < float("inf"):
                raise BadValue(f"{value!r} is not a duration: give seconds, 0 or more")
            return float(value)
        if found := re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ns|us|ms|s|m|h)?", str(value).strip()):
            return float(found[1]) * _UNITS[found[2] or "s"]
        raise BadValue(f"{value!r} is not a duration: write 200ms, 25s or 10m")


class Latency(Duration):
    """`100ms`, `1.5s`, `1m30s`, or a number of milliseconds, which is what llm-d-inference-sim takes."""

    def read(self, value: Any) -> float:
        """Seconds, 0 or more."""
        text = str(value).strip().replace("µs", "us")
        try:
            return super().read(float(text)) / 1000
        except ValueError:  # it has a unit, or is no duration at all
            pass
        if isinstance(value, str) and re.fullmatch(r"(\d+(\.\d+)?(ns|us|ms|s|m|h))+", text):
            parts = re.findall(r"([\d.]+)(ns|us|ms|s|m|h)", text)
            return sum(float(number) * _UNITS[unit] for number, unit in parts)
        raise BadValue(f"{value!r} is not a latency: write 100ms, 1.5s, or a number of milliseconds")


class Json:
    """A JSON value, as text or parsed."""

    def read(self, value: Any) -> Any:
        """The parsed value."""
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise BadValue(f"{value!r} is not JSON: quote it, and write names in double quotes") from None


class Size:
    """`256MiB`, `10GB`, or a number of bytes."""

    def read(self, value: Any) -> int:
        """Bytes."""
        if isinstance(value, int):
            return value
        if (found := re.fullmatch(r"(\d+)\s*([a-z]*)", str(value).strip().lower())) and found[2] in _SIZES:
            return int(found[1]) * _SIZES[found[2]]
        raise BadValue(f"{value!r} is not a size: write 256MiB or 10GB")


class Rotation:
    """`256MB`, `10m`: after how much, or after how long, something is begun anew."""

    def read(self, value: Any) -> str:
        """The text: see `bound`."""
        self.bound(value)
        return str(value)

    @staticmethod
    def bound(value: Any) -> tuple[str, float]:
        """`("size", bytes)` or `("age", seconds)`, more than 0. `10m` is ten minutes, `10mb` a size."""
        for what, kind in (("age", Duration()), ("size", Size())):
            if str(value).strip()[-1:].isalpha():  # a bare number could be either
                try:
                    bound = kind.read(str(value))
                except BadValue:
                    continue
                if bound > 0:
                    return what, float(bound)
        raise BadValue(f"{value!r} is neither a size nor a duration: write 256MB or 10m")


class Speed:
    """`max`, or a factor: 1 as recorded, 2 twice as fast."""

    def read(self, value: Any) -> float | None:
        """The factor; None for `max`."""
        if value in ("max", None):
            return None
        try:
            speed = float(str(value))
        except ValueError:
            raise BadValue(f"{value!r} is not a speed: write max, or a factor such as 1 or 2.5") from None
        if not 0 < speed < float("inf"):
            raise BadValue(f"{value} is not a speed: write max, or a factor above 0")
        return speed


@dataclass(frozen=True, slots=True)
class Port:
    """The number of a TCP port; 0 takes a free one. `or_off`: the word `off` too."""

    or_off: bool = False

    def read(self, value: Any) -> int | None:
        """The number; None for `off`, which is also False (YAML), None (Python) and -1 (click)."""
        if self.or_off and (value is None or value is False or value in ("off", -1)):
            return None
        try:
            number = -1 if isinstance(value, bool) else int(value)
        except (TypeError, ValueError):
            number = -1
        if not 0 <= number <= 65535:
            raise BadValue(
                f"{value!r} is not a port: write a number from 0 to 65535{', or off' if self.or_off else ''}"
            )
        return number
