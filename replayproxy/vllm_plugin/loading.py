"""Recordings from files: cassettes, and the lines of `replayproxy export --to token-ids`.

A cassette is read whole when the engine starts, 1 ms per answer, because every prompt must be known before the first
request. Knows no vLLM.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from replayproxy.cassette.reader import CassetteReader
from replayproxy.errors import CassetteError, NotACassette
from replayproxy.vllm_plugin.token_recordings import TokenRecording, recording_of_line, recordings_of
from replayproxy.vllm_plugin.tokenized_texts import TextTokenizer, tokenized

LONGEST_LINE = 64 * 1024 * 1024
"""Bytes. A prompt of a million tokens takes 8 MB."""


SQLITE_MAGIC = b"SQLite format 3\0"


def load_recordings(
    paths: Sequence[Path], served: frozenset[str] = frozenset(), tokenizer: TextTokenizer | None = None
) -> list[TokenRecording]:
    """Return what answers can be given, in the order in which they were recorded. Raises `CassetteError`.

    `served`: the names of the base model; a request of a recording that names another model used a LoRA adapter. With
    a `tokenizer`, answers without token ids are tokenized again.
    """
    recordings: list[TokenRecording] = []
    for path in paths:
        recordings += _of_cassette(path, served, tokenizer) if _is_sqlite(path) else _of_lines(path)
    if not recordings:
        raise CassetteError(
            f"{', '.join(map(str, paths))} has no answer with token ids, and none whose text could be tokenized: record"
            ' with "return_token_ids": true, or capture in the engine'
        )
    return recordings


def check_recordings(paths: Sequence[Path]) -> None:
    """Look whether files are there and of a kind that can be read, without reading all of them.

    vLLM's front end asks before it starts the engine, whose errors are followed by pages of its own. Raises
    `CassetteError`.
    """
    for path in paths:
        if _is_sqlite(path):
            CassetteReader(path).close()
        else:
            next(_of_lines(path), None)


def _is_sqlite(path: Path) -> bool:
    """Whether it begins as every SQLite file does. One that is not there is left to the reader, who names it."""
    try:
        with path.open("rb") as file:
            return file.read(len(SQLITE_MAGIC)) in (SQLITE_MAGIC, b"")
    except OSError:
        return True


def _of_cassette(path: Path, served: frozenset[str], tokenizer: TextTokenizer | None) -> Iterator[TokenRecording]:
    condition = "state = 'done' AND ending = 'complete' AND status = 200"
    with CassetteReader(path) as cassette:
        for row in cassette.rows(condition, order="recorded_at, number"):
            exchange = cassette.exchange(row["number"])
            found = recordings_of(exchange, row["id"], served)
            yield from found or (tokenized(exchange, tokenizer, row["id"], served) if tokenizer is not None else [])


def _of_lines(path: Path) -> Iterator[TokenRecording]:
    try:
        with path.open("rb") as lines:
            number = 0
            while line := lines.readline(LONGEST_LINE):
                number += 1
                try:
                    yield recording_of_line(line)
                except ValueError as error:
                    raise NotACassette(
                        f"{path} is neither a cassette nor written by `replayproxy export --to token-ids`: line"
                        f" {number} cannot be used ({error})"
                    ) from None
    except OSError as error:
        raise NotACassette(f"{path} cannot be read: {error.strerror}") from error
