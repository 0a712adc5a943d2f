"""What the process says about itself, on stderr: for people as text, for programs as JSON.

    our own messages ─┐
    library loggers ──┼─▶ one handler ─▶ one formatter ─▶ stderr
    warnings, crashes ┘

Nothing else in `cli` writes messages: so no text of a stranger (a path, a model's name, SQLite's error text, an
argument that click quotes) reaches a terminal as it is, and with `--log-format json` every line is JSON with its time.
Tables and data go through `screen` and `output`.
"""

from __future__ import annotations

import copy
import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from replayproxy.core.visible import visible_json, visible_lines
from replayproxy.errors import where_raised

NAME = "replayproxy"

FORMATS = ("text", "json")

_log = logging.getLogger(NAME)


def info(text: str, **fields: Any) -> None:
    """Say what happens; `fields` are what JSON has besides."""
    _log.info("%s", text, extra=_named(fields))


def warning(text: str, **fields: Any) -> None:
    """Say what somebody should look at."""
    _log.warning("%s", text, extra=_named(fields))


def error(text: str, **fields: Any) -> None:
    """Say what went wrong."""
    _log.error("%s", text, extra=_named(fields))


def usage_error(failure: click.ClickException) -> None:
    """What was typed wrongly: for people with the usage above it, as click shows it."""
    if isinstance(failure, click.exceptions.NoArgsIsHelpError) and not is_json():
        click.echo(failure.format_message(), err=True)  # no mistake was made: nothing was asked for
        return
    text = failure.format_message()
    fields: dict[str, Any] = {"exit_code": failure.exit_code}
    if isinstance(failure, click.UsageError) and failure.ctx is not None:
        hint = f"Try '{failure.ctx.command_path} --help' for help."
        fields |= {"usage": f"{failure.ctx.get_usage()}\n{hint}\n\nError: {text}", "command": failure.ctx.command_path}
    _log.error("%s", text, extra=_named(fields))


def _named(fields: dict[str, Any]) -> dict[str, Any]:
    # `logging` reserves some names for itself (`name`, `args`, …): ours are kept apart until they are written.
    return {"replayproxy_fields": fields}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "replayproxy_fields", {})
    return fields


@contextmanager
def speaking(form: str) -> Iterator[None]:
    """Messages of this process go to stderr in this form while the block runs, warnings and crashes too."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, _log.level
    hooks = threading.excepthook, sys.unraisablehook
    handler = _Stderr()
    root.handlers[:] = [handler, *(other for other in before[0] if type(other).__module__.startswith("_pytest"))]
    root.setLevel(logging.WARNING)
    _log.setLevel(logging.INFO)
    logging.captureWarnings(True)
    threading.excepthook, sys.unraisablehook = _thread_died, _ignored
    use(form)
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = hooks
        logging.captureWarnings(False)
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        _log.setLevel(before[2])


def use(form: str) -> None:
    """Go on in this form, `text` or `json`."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Stderr):
            handler.setFormatter(_json() if form == "json" else _Text())
            handler.is_json = form == "json"


def use_level(level: str) -> None:
    """Write no messages below this level: `info`, `warning` or `error`."""
    _log.setLevel(level.upper())


def is_json() -> bool:
    """Whether a program reads them."""
    return any(isinstance(handler, _Stderr) and handler.is_json for handler in logging.getLogger().handlers)


def requested_form(words: Sequence[str], environment: str | None) -> str:
    """The form that a command line asks for, though it may be wrong elsewhere; the environment's where it does not."""
    ours = words[: words.index("--")] if "--" in words else words
    form = environment
    for place, word in enumerate(ours):
        if word == "--log-format":
            form = ours[place + 1] if place + 1 < len(ours) else form
        elif word.startswith("--log-format="):
            form = word.partition("=")[2]
    return form if form in FORMATS else "text"


def _thread_died(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_type is SystemExit or ended.exc_value is None:
        return
    name = ended.thread.name if ended.thread is not None else "unknown"
    trace = (ended.exc_type, ended.exc_value, ended.exc_traceback)
    _log.critical("the thread %s died of an internal error: please report this", name, exc_info=trace)


def _ignored(ended: sys.UnraisableHookArgs) -> None:
    """What Python can only print: an exception while something is thrown away."""
    if ended.exc_value is not None:
        trace = (ended.exc_type, ended.exc_value, ended.exc_traceback)
        _log.error("an exception was ignored in %r", ended.object, exc_info=trace)


def without_quotations(record: logging.LogRecord) -> logging.LogRecord:
    """The same record without words that may quote a request: of a library nothing but where it failed.

    Libraries put what they read into their messages, and a client's key may stand anywhere in it: in a malformed
    request line, in the arguments of a callback, in the text of an exception.
    """
    kept = copy.copy(record)
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        kept.exc_info, kept.exc_text = None, where_raised(error)
    if record.name.partition(".")[0] not in (NAME, "py"):  # py.warnings is what `warnings` says
        kept.msg = f"{record.name} reports {'an error' if record.levelno >= logging.ERROR else 'something'}"
        kept.msg += ": its words are left out, because they may quote a request"
        kept.args = ()
    return kept


class _Stderr(logging.Handler):
    """Writes lines to the current stderr, and nothing if its reader has gone."""

    is_json = False

    def emit(self, record: logging.LogRecord) -> None:
        """One record, in one write, so that lines of several processes do not mix."""
        try:
            try:
                record.getMessage()
            except (TypeError, ValueError, KeyError):  # a library's record whose arguments do not fit its text
                record.msg, record.args = f"{record.msg!r} % {record.args!r}", ()
            line = self.format(without_quotations(record))
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):  # the terminal went away; stderr was closed
            return


class _Text(logging.Formatter):
    """`replayproxy: message`; what follows on more lines stands to the right of it.

    So no line feed in a stranger's text makes a line that looks like one of ours.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One or several lines, without control characters."""
        usage = _fields(record).get("usage")
        if usage is not None:
            return visible_lines(str(usage))
        text = record.getMessage()
        if record.exc_text:
            text += "\n" + record.exc_text
        first, *more = visible_lines(text).split("\n")
        return "\n".join([f"{NAME}: {first}", *(line if line.startswith(" ") else f"  {line}" for line in more)])


def _json() -> logging.Formatter:
    """One object a line: `time` (RFC 3339, UTC), `level`, `logger`, `message`, and what else is known."""
    from pythonjsonlogger.core import LogData
    from pythonjsonlogger.orjson import OrjsonFormatter

    class Json(OrjsonFormatter):
        def add_fields(self, log_data: LogData, record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
            super().add_fields(log_data, record, message_dict)
            time, log_data["level"] = log_data.pop("time"), record.levelname.lower()
            fields = {name: value for name, value in _fields(record).items() if name != "usage"}
            rest = {name: value for name, value in log_data.items() if name != "replayproxy_fields"}
            log_data.clear()
            log_data.update({"time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"), **rest, **fields})

        def jsonify_log_record(self, log_data: LogData) -> str:
            return visible_json(super().jsonify_log_record(_utf8(log_data)))

    return Json(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception", "stack_info": "stack"},
        timestamp="time",
    )


def _utf8(value: Any) -> Any:
    """The same without lone surrogates: an argument or a file's name may hold bytes that are no UTF-8."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {_utf8(name): _utf8(part) for name, part in value.items()}
        case list() | tuple():
            return [_utf8(part) for part in value]
    return value
