"""`verify`: what it says of a file, and what it exits with. What it looks at has its tests in `tests/cassette`."""

from __future__ import annotations

import json
from pathlib import Path

from replayproxy.model import Chunk, Head
from tests.cli.tapes import MS, STREAM, Read, Watch, asked, chat, delta, piece, writing


def test_each_file_has_a_line_that_begins_with_its_name(read: Read, tmp_path: Path) -> None:
    """Once; and the worst of them makes the exit code."""
    one, two, text = (tmp_path / name for name in ("one.cassette", "two.cassette", "a.txt"))
    text.write_text("hello " * 1000)
    for path, prompts in ((one, "a"), (two, "ab")):
        with writing(path) as keep:
            keep(*(chat(prompt) for prompt in prompts))
    ran = read("verify", one, text, two)
    said = ran.out.splitlines()
    assert (ran.code, len(said)) == (2, 3)
    assert said[0] == f"{one}: 1 exchange, all as they were written"
    assert said[1].startswith(f"{text} is not a cassette")
    assert said[2] == f"{two}: 2 exchanges, all as they were written"


def test_a_stream_without_its_last_event_is_not_damage(read: Read, watch: Watch, tmp_path: Path) -> None:
    """HTTP ended it well: `verify` and `info` count it, `ls` and `show` name what it lacks, and it is replayed."""
    path = tmp_path / "a.cassette"
    paths = ("/v1/chat/completions", "/v1/responses", "/v1/responses", "/generate")
    with writing(path) as keep:
        keep(chat("whole"))
        for number, endpoint in enumerate(paths):
            chunks = [Chunk(MS, delta("a")), Chunk(2 * MS, delta("b"))]
            keep(piece(asked(str(number), path=endpoint), Head(MS, 200, STREAM), chunks, 2 * MS))
    ran = read("verify", path)
    assert (ran.code, ran.out) == (
        0,
        f"{path}: 5 exchanges, all as they were written, 3 of them streams that ended well as HTTP without the event"
        " that ends such a stream (response.completed 2, [DONE] 1): replay plays them as they came\n",
    )
    rows = [line for line in watch(200, "ls", path)[1].splitlines() if " tiny " in line]
    ends = [line.rsplit("no ", 1)[1].strip() if "no " in line else "" for line in rows]
    assert ends == ["", "[DONE]", "response.completed", "response.completed", ""]
    shown = [read("show", path, row["id"]).out for row in json.loads(read("ls", path, "--json").out)]
    assert ["missing" in page for page in shown] == [False, True, True, True, False]
    said = " ".join(read("info", path).out.split())
    assert "no end event 3 streams: response.completed 2, [DONE] 1; verify checks them all" in said
    assert json.loads(read("info", path, "--json").out)["stream_ends"] == {
        "streams": 5,
        "checked": 5,
        "missing": {"response.completed": 2, "[DONE]": 1},
    }
    listed = read("ls", path, "--where", "occurrence = 0 AND ending = 'complete'", "--json").out
    assert listed.count('"id"') == len(paths) + 1
