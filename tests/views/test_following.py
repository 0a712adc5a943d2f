"""Tests of `views/following`: each exchange is given once, when it has ended, whatever its number."""

from __future__ import annotations

from pathlib import Path

from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.views.following import Ends, Following
from replayproxy.views.port import EVERYTHING, ExchangeFilter
from tests.cli.tapes import chat, in_flight, writing


def following(path: Path, chosen: ExchangeFilter = EVERYTHING) -> Following:
    """Of this cassette."""
    return Following(lambda: CassetteBrowser.open(path), chosen)


def test_the_newest_first_and_then_what_ends(tmp_path: Path) -> None:
    """In the order of their numbers; nothing twice."""
    path = tmp_path / "a.cassette"
    with writing(path, sealed=False) as keep:
        keep(*(chat(f"old {number}", started=number) for number in range(4)))
        followed = following(path)
        assert [prompt for _, prompt in followed.begin(2)] == ["old 2", "old 3"]
        assert followed.more() == []
        keep(chat("new", started=10))
        assert [(row["number"], prompt) for row, prompt in followed.more()] == [(5, "new")]
        assert followed.more() == []


def test_none_first(tmp_path: Path) -> None:
    """With 0; and a cassette on which nothing was recorded yet."""
    path = tmp_path / "a.cassette"
    with writing(path, sealed=False) as keep:
        followed = following(path)
        assert followed.begin(5) == []
        keep(chat("first"))
        assert [prompt for _, prompt in followed.more()] == ["first"]
        assert following(path).begin(0) == []


def test_a_filter(tmp_path: Path) -> None:
    """Holds for the first ones and for those that come."""
    path = tmp_path / "a.cassette"
    with writing(path, sealed=False) as keep:
        keep(chat("a"), chat("b", model="other", started=1))
        followed = following(path, ExchangeFilter("model = :m", (("m", "other"),)))
        assert [prompt for _, prompt in followed.begin(9)] == ["b"]
        keep(chat("c", started=2), chat("d", model="other", started=3))
        assert [prompt for _, prompt in followed.more()] == ["d"]


def test_a_stream_in_flight_is_given_when_it_has_ended(tmp_path: Path) -> None:
    """Also after those with higher numbers."""
    path = tmp_path / "a.cassette"
    with writing(path, sealed=False) as keep:
        keep(in_flight(chat("still")))
        followed = following(path)
        followed.begin(9)
        keep(chat("quick", started=1))
        assert [prompt for _, prompt in followed.more()] == ["quick"]


def row(number: int, state: str) -> dict[str, object]:
    """As far as it is looked at."""
    return {"number": number, "state": state}


def test_ends_are_noted_once() -> None:
    """By number and state alone."""
    ends = Ends()

    def note(*rows: dict[str, object]) -> list[object]:
        return [ended["number"] for ended in ends.note(rows)]  # type: ignore[arg-type]  # rows of two fields

    assert note(row(1, "done"), row(2, "open"), row(3, "done")) == [1, 3]
    assert ends.after == 1
    assert note(row(2, "open"), row(3, "done"), row(4, "done")) == [4]
    assert note(row(2, "done"), row(3, "done"), row(4, "done")) == [2]
    assert ends.after == 4
    assert note(row(2, "done")) == []


def test_a_look_leaves_the_cassette_closed(tmp_path: Path) -> None:
    """So that a recorder can seal it."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(chat("a"))
        followed = following(path)
        followed.begin(1)
    assert not path.with_name("a.cassette-wal").exists()
