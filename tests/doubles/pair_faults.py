"""What a server of a double does instead of answering well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Say:
    """Answer so at once."""

    status: int
    body: bytes = b'{"error":{"message":"no","type":"Test","param":null,"code":0}}'
    fields: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)


@dataclass(frozen=True, slots=True)
class SayLater:
    """The head at once, and the body so many seconds later."""

    seconds: float
    status: int = 403
    body: bytes = b'{"error":{"message":"no","type":"Test","param":null,"code":0}}'


@dataclass(frozen=True, slots=True)
class Hang:
    """Answer nothing; after the head and so many chunks, nothing more."""

    after: int | None = None


@dataclass(frozen=True, slots=True)
class Reset:
    """RST before the head; or after it and so many chunks."""

    after: int | None = None


@dataclass(frozen=True, slots=True)
class Close:
    """FIN, likewise."""

    after: int | None = None


@dataclass(frozen=True, slots=True)
class Tamper:
    """The ticket is another one."""

    change: Callable[[dict[str, Any]], Any]


Fault = Say | SayLater | Hang | Reset | Close | Tamper
