"""Names of cassettes and scopes: harmless, readable, and different for different tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.pytest_plugin.paths import (
    LONGEST,
    cassette_name,
    file_name,
    relative_name,
    scope_name,
    similar_cassettes,
)

NAMES = [
    (("test", "test_chat", None, "test_asks"), "test_chat/test_asks.cassette"),
    (("test", "test_chat", "TestChat", "test_asks"), "test_chat/TestChat.test_asks.cassette"),
    (("module", "test_chat", "TestChat", "test_asks"), "test_chat.cassette"),
]


@pytest.mark.parametrize(("asked", "name"), NAMES)
def test_where_a_cassette_lies(asked: tuple[str, str, str | None, str], name: str) -> None:
    """By layout, module, class and test."""
    assert cassette_name(*asked) == name


def test_an_odd_name_is_spelled_in_one_way_for_ever() -> None:
    """A cassette in a repository is found again by later versions: these digests never change."""
    assert file_name("test_asks[a/b]") == "test_asks-a-b-639dda57"
    assert scope_name("tests/test_chat.py::test_asks") == "tests.test_chat.py.test_asks-794eb3d5"


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_names_stay_different(one: str, other: str) -> None:
    """And all of them are one harmless segment of a path and of a URL."""
    for name in (file_name(one), scope_name(one)):
        assert re.fullmatch(r"[A-Za-z0-9_.-]+", name)
        assert name.strip(".")
        assert len(name) <= LONGEST + 9
    assert (file_name(one) == file_name(other)) == (one == other)
    assert (scope_name(one) == scope_name(other)) == (one == other)


def test_what_is_nearby_is_named_from_the_root(tmp_path: Path) -> None:
    """Similar names, the most similar first; also where the folder itself is misspelt."""
    for name in ("cassettes/test_chat.cassette", "cassettes/test_chats.cassette", "cassettes/other.cassette"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert similar_cassettes(tmp_path / "cassettes" / "test_caht.cassette", tmp_path) == [
        "cassettes/test_chat.cassette",
        "cassettes/test_chats.cassette",
    ]
    assert (
        similar_cassettes(tmp_path / "cassetes" / "test_chat.cassette", tmp_path)[0] == "cassettes/test_chat.cassette"
    )
    assert relative_name(Path("/elsewhere/a.cassette"), tmp_path) == "/elsewhere/a.cassette"
