"""What a page function gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from replayproxy.admin.inspector.library import CassetteLibrary, NoSuchCassette
from replayproxy.admin.inspector.page import Visitor
from replayproxy.admin.inspector.query import Query


def visitor(*paths: Path, place: str = "", **arguments: str) -> Visitor:
    """A request to an inspector of these cassettes."""
    places = {"cassette": place} if place else {}
    return Visitor(CassetteLibrary(lambda: paths), None, Query(arguments), lambda name: name, places)


def test_the_cassette_of_a_page() -> None:
    """That of the path, else that of the arguments, else the first."""
    paths = (Path("a.cassette"), Path("b.cassette"))
    assert visitor(*paths).cassette() == "a.cassette"
    assert visitor(*paths, cassette="b.cassette").cassette() == "b.cassette"
    assert visitor(*paths, place="b.cassette", cassette="a.cassette").cassette() == "b.cassette"


def test_a_cassette_that_is_not_here_is_an_error() -> None:
    """Another sentence where there is none at all."""
    with pytest.raises(NoSuchCassette, match="no cassette 'x' here"):
        visitor(Path("a.cassette"), cassette="x").cassette()
    with pytest.raises(NoSuchCassette, match="yet"):
        visitor().cassette()
