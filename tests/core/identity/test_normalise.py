"""What changes from run to run: found where it is, and left alone where it only looks a little like it."""

from __future__ import annotations

import pytest

from replayproxy.core.identity.normalise import BUILT_IN, likeness, normalisers
from replayproxy.errors import SettingsError

FOUND: list[tuple[str, str, str]] = [
    ("date", "today is 2026-11-20.", "today is <date>."),
    ("date", "Friday, November 20, 2026", "<date>"),
    ("date", "20 Nov 2026 and 3rd of March 2025", "<date> and <date>"),
    ("date", "11/20/2026 20.11.2026", "<date> <date>"),
    ("timestamp", "at 2026-11-20T15:39:12.123Z", "at <timestamp>"),
    ("timestamp", "at 2026-11-20 15:39:12 UTC, done", "at <timestamp>, done"),
    ("timestamp", "at 2026-11-20T15:39+01:00", "at <timestamp>"),
    ("timestamp", "ts=1795180642 ts=1795180642123 1795180642.25", "ts=<timestamp> ts=<timestamp> <timestamp>"),
    ("uuid", "id 6B29FC40-CA47-1067-B31D-00DD010662DA!", "id <uuid:1>!"),
    ("tool-call-id", "call_Zb3kXq9aLmN0 chatcmpl-tool-0123456789abcdef toolu_01A09q90qw90lq", "<1> <2> <3>"),
    ("tmp-path", "open /tmp/pytest-of-me/pytest-3/test_a0/x.txt now", "open <tmp-path> now"),
    ("tmp-path", "'/var/folders/zz/abc/T/x' /private/tmp/y", "'<tmp-path>' <tmp-path>"),
    ("tmp-path", r"C:\Users\me\AppData\Local\Temp\x.txt", "<tmp-path>"),
]

LEFT: list[tuple[str, str]] = [
    ("date", "2026-13-45 v1.2.3 10/11 the 20 of them 2026"),
    ("date", "12345-11-20123"),
    ("timestamp", "2026-11-20 and 15:39 and 0123456789 and 12345678901 and 3.1795180642"),
    ("uuid", "6b29fc40-ca47-1067-b31d 6b29fc40ca471067b31d00dd010662da"),
    ("tool-call-id", "call_me recall_everything_today toolu_ chatcmpl-tool-xyz"),
    ("tmp-path", "/home/tmp/x a/tmp/b /tmpfile /tmp"),
]


@pytest.mark.parametrize(("name", "text", "normalised"), FOUND)
def test_found(name: str, text: str, normalised: str) -> None:
    """A placeholder stands in its place."""
    [normaliser] = normalisers((name,))
    assert normaliser.of(text) == normalised.replace("<1>", f"<{name}:1>").replace("<2>", f"<{name}:2>").replace(
        "<3>", f"<{name}:3>"
    )


@pytest.mark.parametrize(("name", "text"), LEFT)
def test_left_alone(name: str, text: str) -> None:
    """It only looks a little like it."""
    [normaliser] = normalisers((name,))
    assert normaliser.of(text) == text


def test_the_order_of_the_flags_makes_no_difference() -> None:
    """A timestamp is found before the date in it; one's own patterns come last, in their order."""
    wanted = ("b=2", "date", "a=1", "timestamp")
    assert [normaliser.name for normaliser in normalisers(wanted)] == ["timestamp", "date", "b", "a"]


def test_what_is_counted_is_counted_over_the_whole_request() -> None:
    """The same id has the same number wherever it stands."""
    [normaliser] = normalisers(("tool-call-id",))
    seen: dict[str, int] = {}
    assert normaliser.of("call_aaaaaaaa call_bbbbbbbb", seen) == "<tool-call-id:1> <tool-call-id:2>"
    assert normaliser.of("call_bbbbbbbb", seen) == "<tool-call-id:2>"


@pytest.mark.parametrize("name", ["dates", "a=(", ""])
def test_what_is_no_normaliser(name: str) -> None:
    """A sentence that says what there is."""
    with pytest.raises(SettingsError, match="--match-normalise"):
        normalisers((name,))


LIKE: list[tuple[str, str, str | None]] = [
    ("on 2026-11-17 we", "on 2026-11-20 we", "date"),
    ("at 2026-11-17T10:00:00Z", "at 2026-11-17T10:00:01Z", "timestamp"),
    ("call_aaaaaaaa", "call_bbbbbbbb", "tool-call-id"),
    ("/private/tmp/a/b", "/private/tmp/c", "tmp-path"),
    ("on 2026-11-17 we", "on 2026-11-20 you", None),
    ("a", "b", None),
    ("2026-11-17", "2026-11-17", None),
]


@pytest.mark.parametrize(("one", "other", "name"), LIKE)
def test_likeness(one: str, other: str, name: str | None) -> None:
    """The normaliser under which two texts are one."""
    assert likeness(one, other) == name
    assert name is None or name in BUILT_IN
