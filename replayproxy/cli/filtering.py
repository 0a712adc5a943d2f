"""The options that choose exchanges: `--where SQL -p NAME VALUE --since --until`, as one `ExchangeFilter`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replayproxy.cassette.condition import fault_in
from replayproxy.cli.options import F, plain_option
from replayproxy.views.port import ExchangeFilter

if TYPE_CHECKING:
    from replayproxy.cassette.browse import CassetteBrowser

_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)(?:\s+ago)?")
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


class Moment(click.ParamType[int]):
    """`2026-11-18T09:14Z`, or `10m` ago. Gives ns since the Unix epoch. Without a zone it is UTC, as all times here."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Of whatever the command line, the environment or a YAML file gave."""
        if isinstance(value, int):
            return value
        text = value.isoformat() if isinstance(value, datetime) else str(value).strip()  # YAML makes datetimes
        if ago := _AGO.fullmatch(text):
            from replayproxy.net.clock import SystemClock

            clock = SystemClock()
            now = clock.today()
            clock.close()
            return now - round(float(ago[1]) * _SECONDS[ago[2]] * 1e9)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is no time: write 2026-11-18T09:14, or 10m for ten minutes ago", param, ctx)
        since_epoch = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
        return (since_epoch.days * 86400 + since_epoch.seconds) * 1_000_000_000 + since_epoch.microseconds * 1000


def typed_value(value: str) -> str | int | float:
    """A value that looks like a number is one: to SQLite any number is less than any text."""
    if not _NUMBER.fullmatch(value):
        return value
    return float(value) if "." in value or len(value) > 18 else int(value)


def choosing(function: F) -> F:
    """Adds the options; the verb gets them as one `chosen`."""

    @wraps(function)
    def called(
        *arguments: Any,
        where: str | None,
        values: tuple[tuple[str, str], ...],
        since: int | None,
        until: int | None,
        **others: Any,
    ) -> Any:
        bound = frozenset(name.lstrip(":@$") for name, _ in values)
        if where is None and values:
            raise click.UsageError(f"-p {values[0][0]} binds a name in --where: give --where too")
        if len(bound) < len(values):
            raise click.UsageError("-p gives one name several values: choose")
        if where is not None and (fault := fault_in(where, bound)) is not None:
            raise click.UsageError(f"--where: {fault}")
        for text in (where or "", *(part for pair in values for part in pair)):
            if not text.isprintable() and any(0xD800 <= ord(character) < 0xE000 for character in text):
                raise click.UsageError(f"{text!r} is not UTF-8")
        typed = tuple((name.lstrip(":@$"), typed_value(value)) for name, value in values)
        return function(*arguments, chosen=ExchangeFilter(where, typed, since, until), **others)

    options: tuple[Callable[[Any], Any], ...] = (
        plain_option(
            "--where", metavar="SQL", help="A condition on v_exchange, such as 'ttft_s > :x AND status = 200'."
        ),
        plain_option(
            "-p",
            "--param",
            "values",
            type=(str, str),
            multiple=True,
            metavar="NAME VALUE",
            help="Bind :NAME in --where.",
        ),
        plain_option(
            "--since",
            type=Moment(),
            help="Requests at or after this time: 2026-11-18T09:14 (UTC), or 10m for ten minutes ago.",
        ),
        plain_option("--until", type=Moment(), help="Requests before this time."),
    )
    for option in reversed(options):
        called = option(called)
    return called  # type: ignore[return-value]  # click's decorators keep the function, their types do not say so


@contextmanager
def opened(paths: Sequence[Path], chosen: ExchangeFilter) -> Iterator[list[CassetteBrowser]]:
    """Open these cassettes while the block runs. Raises `SettingsError` where the filter's SQL cannot run on one."""
    from replayproxy.cassette.browse import CassetteBrowser  # here: the flags alone need none

    with ExitStack() as stack:
        browsers = [stack.enter_context(CassetteBrowser.open(path)) for path in paths]
        for browser in browsers:
            browser.check(chosen)
        yield browsers
