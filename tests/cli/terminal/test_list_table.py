"""Tests of `cli/terminal/list_table`: `replayproxy ls`."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path

import pytest

from replayproxy.cli.terminal.list_table import NEWEST
from tests.cli.tapes import Read, Watch, chat, writing


def rows_of(out: str) -> list[list[str]]:
    """Cells, parted by two blanks or more."""
    return [re.split(r" {2,}", line.strip()) for line in out.splitlines()]


def test_the_whole_list(read: Read, mixed: Path) -> None:
    """Whatever happened to an exchange can be seen in its line."""
    ran = read("ls", mixed)
    assert ran.code == 0
    table = [[*row[1:]] for row in rows_of(ran.out)]  # ids are digests
    assert table == [
        ["START (UTC)", "ENDPOINT", "MODEL", "CODE", "IN", "OUT", "CHUNKS", "TTFT", "CHUNK p50", "TOTAL", "FINISH"],
        *(
            [f"2026-11-18 11:06:{40 + second}.000", *line]
            for second, line in enumerate(
                (
                    ["/v1/chat/completions", "tiny", "200", "10", "3", "4", "100 ms", "20.0 ms", "141 ms", "stop"],
                    [
                        "/v1/chat/completions",
                        "tiny",
                        "200",
                        "-",
                        "-",
                        "3",
                        "100 ms",
                        "20.0 ms",
                        "140 ms",
                        "client_left",
                    ],
                    ["/v1/chat/completions", "tiny", "-", "-", "-", "0", "-", "-", "0 ms", "upstream_cut"],
                    [
                        "/v1/chat/completions",
                        "qwen",
                        "200",
                        "7\u2009903",
                        "512",
                        "6",
                        "100 ms",
                        "20.0 ms",
                        "181 ms",
                        "stop",
                        "*bundled",
                    ],
                    ["/v1/chat/completions", "tiny", "400", "-", "-", "1", "-", "-", "5.0 ms", "-"],
                    ["GET /v1/models", "-", "200", "-", "-", "-", "-", "-", "5.0 ms", "-"],
                    [
                        "/v1/chat/completions",
                        "tiny",
                        "200",
                        "1\u2009842",
                        "21",
                        "21",
                        "100 ms",
                        "20.0 ms",
                        "481 ms",
                        "stop",
                        "pair",
                    ],
                    ["/v1/chat/completions", "-", "200", "-", "-", "0", "-", "-", "-", "in flight"],
                )
            )
        ),
    ]


def test_the_footer_counts_and_says_what_is_next(read: Read, mixed: Path) -> None:
    """On stderr, for it is no data."""
    newest = json.loads(read("ls", mixed, "--json").out)[-1]["id"]
    assert read("ls", mixed).err.splitlines() == [
        f"8 exchanges in {mixed}.  * several tokens per chunk: CHUNK is not ITL.",
        f"Next:  replayproxy show {mixed} {newest}",
    ]
    assert read("ls", mixed, "-n", "2").err.startswith(f"Newest 2 of 8 in {mixed}.\n")
    matching = read("ls", mixed, "--where", "model = 'tiny'", "--sort", "ttft", "-n", "2").err
    assert matching.startswith(f"First 2 of 5 matching (8 in {mixed}).\n")
    assert "more:  -n 8    all:  -n 0" in matching
    assert read("ls", mixed, "--where", "0").err == f"None of 8 exchanges in {mixed} matches.\n"


def test_an_empty_cassette(read: Read, empty: Path) -> None:
    """Has a heading and no rows."""
    ran = read("ls", empty)
    assert (ran.code, len(ran.out.splitlines()), ran.err) == (0, 1, f"{empty} holds no exchanges yet.\n")


def test_next_steps_can_be_pasted(read: Read, tmp_path: Path) -> None:
    """Also where the name of the file has a blank in it."""
    path = tmp_path / "my chats.cassette"
    with writing(path) as keep:
        keep(chat())
    assert re.search(r"replayproxy show '.*/my chats\.cassette' [0-9a-f]{8}$", read("ls", path).err.strip())


SORTS = [
    ("prompt_tokens", ["10", "1\u2009842", "7\u2009903", "-"]),
    ("-prompt_tokens", ["7\u2009903", "1\u2009842", "10", "-"]),
    ("in", ["10", "1\u2009842", "7\u2009903", "-"]),
    ("-IN", ["7\u2009903", "1\u2009842", "10", "-"]),
]


@pytest.mark.parametrize(("column", "tokens"), SORTS)
def test_sorting(read: Read, mixed: Path, column: str, tokens: list[str]) -> None:
    """By name or heading, the largest first with a minus; rows without a value come last."""
    table = rows_of(read("ls", mixed, "--sort", column, "-n", "4").out)
    place = table[0].index("IN")
    assert [row[place] for row in table[1:]] == tokens


def test_several_cassettes_are_one_list(read: Read, tmp_path: Path) -> None:
    """In the order of time or of --sort, each row with its cassette; a limit counts all of them."""
    odd, even = tmp_path / "odd", tmp_path / "even"
    for path, numbers in ((odd, (1, 3, 5)), (even, (0, 2, 4))):
        with writing(path) as keep:
            keep(*(chat(usage=(number, 3), started=1000 * number) for number in numbers))

    def tokens(*flags: str) -> list[tuple[str, int]]:
        rows = json.loads(read("ls", odd, even, "--json", *flags).out)
        return [(Path(row["cassette"]).name, row["prompt_tokens"]) for row in rows]

    in_order = [("even", 0), ("odd", 1), ("even", 2), ("odd", 3), ("even", 4), ("odd", 5)]
    assert tokens() == in_order
    assert tokens("-n", "3") == in_order[3:]
    assert tokens("--sort", "-prompt_tokens", "-n", "2") == in_order[:3:-1]
    assert tokens("--sort", "model", "-n", "0") == [
        row for name in ("odd", "even") for row in in_order if row[0] == name
    ]
    assert read("ls", odd, even).out.splitlines()[0].startswith("CASSETTE")
    assert read("ls", odd, even).err.startswith("6 exchanges in 2 cassettes.\n")


def test_a_terminal_gets_the_newest_that_fit_its_eye(watch: Watch, tmp_path: Path) -> None:
    """Fifty rows; a pipe gets all, and so does -n 0."""
    path = tmp_path / "long.cassette"
    with writing(path) as keep:
        keep(*(chat(f"{number}", started=number) for number in range(60)))
    code, said = watch(200, "ls", path)
    lines = said.splitlines()
    assert (code, len(lines)) == (0, 1 + NEWEST + 2)
    assert "11:06:40.010" in lines[1]
    assert lines[-2].startswith("Newest 50 of 60 in ")
    assert len(watch(200, "ls", path, "-n", "0")[1].splitlines()) == 63


def test_a_row_does_not_depend_on_the_payload(read: Read, mixed: Path) -> None:
    """A list of many rows unpacks nothing: no CHUNK p50 beyond a thousand rows."""
    import sqlite3

    with closing(sqlite3.connect(mixed)) as connection, connection:
        connection.execute("UPDATE payload SET request = x'00'")
        connection.execute("UPDATE answer SET answer = x'00'")
    connection.close()
    assert read("ls", mixed).code == 0
    assert read("ls", mixed, "--json").code == 0
