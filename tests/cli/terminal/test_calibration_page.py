"""The page of `calibrate`: what is unsafe, what is unexplained, and text of a stranger."""

from __future__ import annotations

from pathlib import Path

from tests.cli.tapes import Read, chat, writing


def recorded(path: Path, *prompts: str) -> Path:
    """A run."""
    with writing(path) as keep:
        keep(*(chat(prompt, started=place) for place, prompt in enumerate(prompts)))
    return path


def test_an_unsafe_rule_is_said_so(read: Read, tmp_path: Path) -> None:
    """Requests that both runs asked equally fall together: exit code 5, with numbers and the place."""
    stable = ["Ticket number 1: what is it?", "Ticket number 2: what is it?"]
    first = recorded(tmp_path / "a", *stable, "Ticket number 77: what is it?")
    second = recorded(tmp_path / "b", *stable, "Ticket number 88: what is it?")
    done = read("calibrate", first, second)
    assert done.code == 5
    assert "unsafe requests 1, 2, 3 of the first run fall together" in done.out
    assert "$.messages[0].content" in done.out


def test_the_kinds_of_unexplained_requests(read: Read, tmp_path: Path) -> None:
    """One that resembles another, and one that resembles nothing."""
    first = recorded(tmp_path / "a", "Name all the rivers of this land, please, in their order")
    second = recorded(
        tmp_path / "b", "Name all the rivers of this land, please, in their order, and the seas", "Goodbye"
    )
    out = read("calibrate", first, second).out
    assert "request 1 of the second run differs from 1 of the first" in out
    assert "request 2 of the second run: no request of the first run resembles it" in out


def test_a_recording_writes_nothing_to_the_terminal(read: Read, tmp_path: Path) -> None:
    """Escape sequences in a prompt are made visible."""
    first = recorded(tmp_path / "a", "Say \x1b]0;title\x07 and count to 17 now please")
    second = recorded(tmp_path / "b", "Say \x1b]0;title\x07 and count to 18 now please \x1b[31m")
    assert "\x1b" not in read("calibrate", first, second).out
