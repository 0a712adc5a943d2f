"""`verify`: what it says of a file, and what it exits with. What it looks at has its tests in `tests/cassette`."""

from __future__ import annotations

from pathlib import Path

from tests.cli.tapes import Read, chat, writing


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
