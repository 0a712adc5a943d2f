"""What stands in the URL of a page, as an `ExchangeFilter` and an order; and back, so that links keep it.

    ?cassette=chat.cassette&model=tiny&status=errors&ttft=0.5&sort=-ttft&before=1200

An argument that makes no sense is an error with a sentence, and not ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from replayproxy.cassette.condition import fault_in
from replayproxy.errors import ReplayProxyError
from replayproxy.views.port import ExchangeFilter, ExchangeRow, RowOrder, Value
from replayproxy.views.units import moment

ENDINGS = ("complete", "upstream_cut", "client_left", "timeout", "proxy_stopped", "proxy_crashed", "open")

SORTS: Mapping[str, tuple[str, str]] = {
    "ttft": ("ttft_s", "TTFT"),
    "total": ("total_s", "total time"),
    "tokens": ("completion_tokens", "output tokens"),
    "prompt": ("prompt_tokens", "prompt tokens"),
    "size": ("response_size", "size"),
    "chunks": ("chunks", "chunks"),
    "status": ("status", "status"),
}
"""By which columns a list may be sorted: the column, and its name for people. `-` before it: the largest first."""

FILTERS = ("model", "endpoint", "status", "ending", "scope", "ttft", "total", "since", "until", "where")
"""The arguments that choose exchanges."""


class BadQuery(ReplayProxyError):
    """An argument of a URL that makes no sense."""

    status = 400
    code = "bad_query"


@dataclass(frozen=True, slots=True)
class Query:
    """The arguments of a page. `arguments` has each once, without empty ones."""

    arguments: Mapping[str, str]

    def get(self, name: str) -> str:
        """An argument; empty where it is not given."""
        return self.arguments.get(name, "")

    def whole(self, name: str, default: int, least: int = 0, most: int = 2**62) -> int:
        """An argument that is a whole number. Raises `BadQuery`."""
        text = self.get(name)
        if not text:
            return default
        if not (text.isascii() and text.isdecimal() and len(text) < 20 and least <= int(text) <= most):
            raise BadQuery(f"{name} is a whole number from {least} on, not {text!r}")
        return int(text)

    def link(self, **changes: object) -> str:
        """The query string with some arguments changed; None or an empty text takes one out."""
        merged = {**self.arguments, **changes}
        return urlencode({name: str(value) for name, value in merged.items() if value not in (None, "")})

    @property
    def filters(self) -> dict[str, str]:
        """The arguments that choose exchanges."""
        return {name: self.arguments[name] for name in FILTERS if name in self.arguments}

    def only_filters(self, **more: object) -> str:
        """A query string of the cassette and the filters alone, and what is added."""
        kept = Query({**{name: self.get(name) for name in ("cassette",) if self.get(name)}, **self.filters})
        return kept.link(**more)

    def chosen(self) -> ExchangeFilter:
        """The exchanges that meet all filters. Raises `BadQuery`."""
        conditions: list[str] = []
        values: list[tuple[str, Value]] = []
        status: int | None = None
        match self.get("status"):
            case "":
                pass
            case "errors":
                conditions.append("(status >= 400 OR status = 0)")
            case "2xx" | "3xx" | "4xx" | "5xx" as family:
                conditions.append(f"status / 100 = {int(family[0])}")
            case text if text.isascii() and text.isdecimal() and len(text) <= 3:
                status = int(text)
            case text:
                raise BadQuery(f"status is a number such as 429, 4xx, 5xx or errors, not {text!r}")
        if ending := self.get("ending"):
            if ending not in ENDINGS:
                raise BadQuery(f"there is no ending {ending!r}: endings are {', '.join(ENDINGS)}")
            conditions.append("state = 'open'" if ending == "open" else f"ending = '{ending}'")  # one of ENDINGS
        for name, column in (("ttft", "ttft_s"), ("total", "total_s")):
            if text := self.get(name):
                conditions.append(f"{column} >= :web_{name}")
                values.append((f"web_{name}", _seconds(name, text)))
        if scope := self.get("scope"):
            conditions.append("scope = :web_scope")
            values.append(("web_scope", scope))
        if where := self.get("where"):
            if (fault := fault_in(where)) is not None:  # alone: between our words it could reach other filters
                raise BadQuery(f"the condition {where!r} cannot be used: {fault}")
            conditions.append(f"({where}\n)")  # the line feed ends a comment that it may have left open
        return ExchangeFilter(
            where=" AND ".join(conditions) or None,
            values=tuple(values),
            since=_moment("since", self.get("since")),
            until=_moment("until", self.get("until")),
            model=self.get("model") or None,
            endpoint=self.get("endpoint") or None,
            status=status,
        )

    def order(self) -> RowOrder | None:
        """The order of a list; None is by time. Raises `BadQuery`."""
        text = self.get("sort")
        if not text:
            return None
        name = text.removeprefix("-")
        if name not in SORTS:
            raise BadQuery(f"a list cannot be sorted by {name!r}: choose one of {', '.join(SORTS)}")
        return RowOrder(SORTS[name][0], descending=text.startswith("-"))


def _seconds(name: str, text: str) -> float:
    """A least time in seconds, or with `ms` behind it."""
    number, factor = (text[:-2], 1e-3) if text.endswith("ms") else (text.removesuffix("s"), 1.0)
    try:
        seconds = float(number) * factor
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise BadQuery(f"{name} is a time in seconds such as 0.5 or 500ms, not {text!r}")
    return seconds


def _moment(name: str, text: str) -> int | None:
    """Wall time in ns since the Unix epoch. Without a zone it is UTC."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise BadQuery(f"{name} is a time such as 2026-11-18T09:14, in UTC, not {text!r}") from None
    passed = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return (passed.days * 86400 + passed.seconds) * 1_000_000_000 + passed.microseconds * 1000


def as_moment(seconds: float) -> str:
    """Wall time in seconds since the Unix epoch, as `since` and `until` take it."""
    return moment(round(seconds * 1e3) * 1_000_000).replace(" ", "T")


# Pages of a list


def with_condition(chosen: ExchangeFilter, condition: str, **values: Value) -> ExchangeFilter:
    """A filter with one more condition, whose values are given by name."""
    where = condition if chosen.where is None else f"({chosen.where}\n) AND {condition}"
    return ExchangeFilter(
        where=where,
        values=(*chosen.values, *values.items()),
        since=chosen.since,
        until=chosen.until,
        model=chosen.model,
        endpoint=chosen.endpoint,
        status=chosen.status,
        finished=chosen.finished,
    )


@dataclass(frozen=True, slots=True)
class ListPlace:
    """Where a page of a sorted list ends: the value of its last row, and the row's number."""

    value: str
    number: int

    @classmethod
    def of(cls, row: ExchangeRow, order: RowOrder) -> ListPlace:
        """The place of a row."""
        value: Any = row[order.field]  # type: ignore[literal-required]  # one of SORTS
        return cls("null" if value is None else repr(value), row["number"])

    @classmethod
    def read(cls, text: str) -> ListPlace:
        """Read what `str` gave. Raises `BadQuery`."""
        value, _, number = text.rpartition("~")
        if not (number.isascii() and number.isdecimal() and len(number) < 19):
            raise BadQuery("after is the end of the page before: follow the link of that page")
        return cls(value, int(number))

    def __str__(self) -> str:
        return f"{self.value}~{self.number}"

    def beyond(self, chosen: ExchangeFilter, order: RowOrder) -> ExchangeFilter:
        """The exchanges that come after this place. Raises `BadQuery`."""
        field = order.field
        if self.value == "null":
            return with_condition(chosen, f"{field} IS NULL AND number > :web_number", web_number=self.number)
        try:
            value = float(self.value)
        except ValueError:
            raise BadQuery("after is the end of the page before: follow the link of that page") from None
        sign = "<" if order.descending else ">"
        condition = f"({field} {sign} :web_value OR {field} = :web_value AND number > :web_number OR {field} IS NULL)"
        return with_condition(chosen, condition, web_value=value, web_number=self.number)
