"""The output family that all reading verbs share, after sqlite-utils: `--json --nl --csv --tsv -t -o` and the rest.

Data formats give every field by its name, with seconds as floats, in UTF-8; tables give people what they want to see.
What goes to stdout is data; what is said about it goes to stderr. No file that is a cassette is ever written over.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Any, TextIO

import click

from replayproxy import output_files
from replayproxy.cli.options import F, plain_option
from replayproxy.cli.terminal.screen import Screen, on_stdout
from replayproxy.core.visible import visible, visible_json


class Form(StrEnum):
    """What stdout gets."""

    TABLE = "table"
    JSON = "json"
    NL = "nl"
    CSV = "csv"
    TSV = "tsv"


@dataclass(frozen=True, slots=True)
class Output:
    """What the user chose, as one value."""

    form: Form = Form.TABLE
    headers: bool = True
    trunc: bool = True
    path: Path | None = None

    @property
    def is_for_people(self) -> bool:
        """A table or text, not data."""
        return self.form is Form.TABLE

    @contextmanager
    def opened(self, *inputs: Path) -> Iterator[TextIO]:
        """The stream that is written to; flushed at the end, so that a reader who has left is noticed here."""
        if self.path is None:
            with _until_reader_leaves():
                yield sys.stdout
                sys.stdout.flush()
            return
        with output_files.writing(self.path, "-o", inputs) as binary:
            stream = io.TextIOWrapper(binary, encoding="utf-8", newline="", write_through=True)
            yield stream
            stream.flush()
            stream.detach()

    @contextmanager
    def screen(self, *inputs: Path) -> Iterator[Screen]:
        """Where lines for people go."""
        with self.opened(*inputs) as stream:
            yield on_stdout() if stream is sys.stdout else Screen(stream)

    def rows(self, names: Sequence[str], rows: Iterable[Mapping[str, Any]], *inputs: Path) -> None:
        """Write rows as data. `names` are the fields, in order; they are what an empty result still has."""
        with self.opened(*inputs) as stream:
            for piece in self._encoded(names, rows):
                _write(stream, piece)

    def value(self, value: Mapping[str, Any], *inputs: Path) -> None:
        """Write one thing as one JSON object, on one line with `--nl`."""
        with self.opened(*inputs) as stream:
            _write(stream, _json(value, indent=self.form is Form.JSON) + "\n")

    def line(self, stream: TextIO, value: Mapping[str, Any]) -> None:
        """Write one JSON object on a line of an open stream."""
        _write(stream, _json(value) + "\n")

    def raw(self, pieces: Iterable[bytes], *inputs: Path) -> None:
        """Write bytes as they are."""
        with self.opened(*inputs) as stream:
            stream.flush()
            for piece in pieces:
                stream.buffer.write(piece)

    def _encoded(self, names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
        match self.form:
            case Form.JSON:
                before = "["
                for row in rows:
                    yield before + _json({name: row.get(name) for name in names})
                    before = ",\n "
                yield "[]\n" if before == "[" else "]\n"
            case Form.NL:
                for row in rows:
                    yield _json({name: row.get(name) for name in names}) + "\n"
            case Form.CSV:
                line = _CsvLine()
                if self.headers:
                    yield line(names)
                for row in rows:
                    yield line([_cell(row.get(name)) for name in names])
            case Form.TSV:
                if self.headers:
                    yield "\t".join(names) + "\n"
                for row in rows:
                    yield "\t".join(_cell(row.get(name)) for name in names) + "\n"
            case Form.TABLE:
                raise AssertionError("a table is laid out by its verb")


@contextmanager
def _until_reader_leaves() -> Iterator[None]:
    """Somebody piped us into `head`: no error, and nothing more can be said. (click would make exit code 1 of it.)"""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(0) from None


class _CsvLine:
    """One line of CSV as text."""

    def __init__(self) -> None:
        import csv  # not for tables

        self._text = ""
        self._writer = csv.writer(self, lineterminator="\n")

    def write(self, text: str) -> int:
        self._text = text
        return len(text)

    def __call__(self, cells: Sequence[str]) -> str:
        self._writer.writerow(cells)
        return self._text


def _cell(value: object) -> str:
    if value is None:
        return ""
    return visible(value) if isinstance(value, str) else visible(str(value))


def _json(value: object, *, indent: bool = False) -> str:
    import orjson  # not for tables

    option = orjson.OPT_NON_STR_KEYS | (orjson.OPT_INDENT_2 if indent else 0)
    return visible_json(orjson.dumps(value, option=option, default=repr).decode())


def _write(stream: TextIO, text: str) -> None:
    """Data is UTF-8, whatever the terminal's encoding."""
    if stream is sys.stdout and (raw := getattr(stream, "buffer", None)) is not None:
        stream.flush()
        raw.write(text.encode())
    else:
        stream.write(text)


def output_family(function: F) -> F:
    """Adds the options; the verb gets them as one `output`."""

    @wraps(function)
    def chosen(
        *arguments: Any, as_table: bool, no_headers: bool, no_trunc: bool, output_path: Path | None, **others: Any
    ) -> Any:
        forms = [form for form in Form if form is not Form.TABLE and others.pop(f"as_{form}")]
        if len(forms) + as_table > 1:
            raise click.UsageError("choose one of --json, --nl, --csv, --tsv and --table")
        form = forms[0] if forms else Form.TABLE
        path = None if str(output_path) == "-" else output_path
        if path is not None:  # before the verb does anything: `ctl rotate -o` would have rotated
            output_files.refuse(path, "-o")
        return function(*arguments, output=Output(form, not no_headers, not no_trunc, path), **others)

    options: tuple[Callable[[Any], Any], ...] = (
        plain_option("--json", "as_json", is_flag=True, help="JSON; seconds as floats."),
        plain_option("--nl", "as_nl", is_flag=True, help="JSON, one row per line."),
        plain_option("--csv", "as_csv", is_flag=True, help="Comma-separated values."),
        plain_option("--tsv", "as_tsv", is_flag=True, help="Tab-separated values."),
        plain_option("-t", "--table", "as_table", is_flag=True, help="A table for people (default)."),
        plain_option("--no-headers", is_flag=True, help="Omit the line of headings."),
        plain_option("--no-trunc", is_flag=True, help="Do not cut rows to the width of the terminal."),
        plain_option(
            "-o",
            "--output",
            "output_path",
            type=click.Path(path_type=Path),
            help="Write to this file instead of stdout.",
        ),
    )
    for option in reversed(options):
        chosen = option(chosen)
    return chosen  # type: ignore[return-value]  # click's decorators keep the function, their types do not say so
