"""The recordings that are most like a request, best first."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.store import CassetteStore
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.identity.sketch import sketch
from replayproxy.model import Ending
from replayproxy.ports import Neighbour
from tests.recordings import (
    MATCHER,
    asked,
    exchange,
    keep,
    pieces,
    record,
    said,
)

TALES = {
    name: f"Tell me how {name} came to the sea, who built the mill, and what today is like." for name in "abcdefgh"
}


def ids(found: list[Neighbour]) -> list[str]:
    """What was asked, by its last word."""
    return [json.loads(one.request.body)["messages"][-1]["content"] for one in found]


def test_the_nearest_stand_first(tmp_path: Path) -> None:
    """Of this endpoint, with what people want to know of them; equal requests once; broken ones never."""
    answer, broken = said([b"x"]), replace(said([b"x"]), ending=Ending.UPSTREAM_CUT)
    path = record(
        tmp_path / "a",
        [
            exchange(asked("something else"), answer),
            exchange(asked(TALES["a"]), answer),
            exchange(asked(TALES["a"]), answer),
            exchange(asked(TALES["b"], path="/v1/elsewhere"), answer),
            exchange(asked(TALES["c"]), broken),
        ],
    )
    wanted = sketch(MATCHER.compared(asked(TALES["d"])))
    with CassetteReader(path) as cassette:
        found = cassette.near("POST", "/v1/chat/completions", wanted, 8)
        assert ids(found) == [TALES["a"], "something else"]
        assert (found[0].cassette, found[0].status) == (str(path), 200)
        assert 2 in cassette.find(found[0].id)
        assert cassette.near("POST", "/v1/chat/completions", wanted, 1) == found[:1]
        assert cassette.near("GET", "/v1/chat/completions", wanted, 8) == []
        assert cassette.count_of_endpoint("POST", "/v1/chat/completions") == (3, 2)
        assert CassetteStore([cassette, cassette]).near("POST", "/v1/chat/completions", wanted, 8) == found * 2
        assert CassetteStore([cassette, cassette]).count_of_endpoint("POST", "/v1/elsewhere") == (6, 2)


def test_what_is_recorded_meanwhile_is_near_too(tmp_path: Path) -> None:
    """A reader beside a recorder."""
    path, wanted = tmp_path / "a", sketch(MATCHER.compared(asked(TALES["d"])))
    keeper = CassetteWriter(path, MATCHER)
    with CassetteReader(path) as cassette:
        for name in "ab":
            keep(keeper, pieces(exchange(asked(TALES[name]), said([b"x"])), ord(name)))
            found = cassette.near("POST", "/v1/chat/completions", wanted, 8)
            assert TALES[name] in ids(found)
    keeper.seal()
