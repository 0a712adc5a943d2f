"""Two cassettes or two exchanges side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from replayproxy.admin.inspector.pages import compare
from tests.admin.inspector.visits import Markup, Visit, visiting
from tests.cli.tapes import chat, writing


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """The same twelve requests twice; the second server is slower, and answers one of them otherwise."""
    paths = tmp_path / "first.cassette", tmp_path / "second.cassette"
    for path, slower in zip(paths, (1.0, 1.5), strict=True):
        with writing(path) as keep:
            for number in range(12):
                words = ["Hi", " there", "!"] if slower == 1 or number != 5 else ["Hi", " you", "!"]
                times = [slower * (100 + number + 20 * place) for place in range(3)]
                keep(chat(f"prompt {number}", words=words, at=times, started=1000 * number))
    return paths


def test_two_cassettes(two: tuple[Path, Path]) -> None:
    """Joined by request: which answers differ, and how much slower the second is; the place leads to both exchanges."""

    async def dialogue(visit: Visit) -> None:
        path = "/compare?a=first.cassette&b=second.cassette"
        data = (await visit(path.replace("?", ".json?"))).json
        assert (data["joined"], data["read"], data["counts"]["different"], data["counts"]["identical"]) == (
            12,
            12,
            1,
            11,
        )
        ratio = next(one for one in data["times"]["ttft"] if one["statistic"] == "ratio")
        assert ratio["ratio"] == pytest.approx(1.5, rel=0.01)
        page = Markup((await visit(path)).text)
        assert "Share of answers that are not slower" in page.text
        (link,) = [link for link in page.links if link.startswith("/compare?a=")]
        pair = Markup((await visit(link)).text)
        assert " there" in pair.text
        assert " you" in pair.text
        assert "1.50 ×" in pair.text

    visiting(dialogue, *two)


def test_two_exchanges_of_a_list(two: tuple[Path, Path]) -> None:
    """As the boxes of a list choose them: also of different requests."""

    async def dialogue(visit: Visit) -> None:
        rows = (await visit("/list.json")).json["rows"][:2]
        boxes = "&".join(f"x=first.cassette/{row['id']}~{row['number']}" for row in rows)
        data = (await visit(f"/compare.json?{boxes}")).json
        assert [data[side]["number"] for side in "ab"] == [row["number"] for row in rows]
        assert data["same_request"] is False
        assert (await visit(f"/compare?{boxes}")).status == 200

    visiting(dialogue, *two)


def test_the_same_twice_does_not_differ(two: tuple[Path, Path]) -> None:
    """All answers are the same."""

    async def dialogue(visit: Visit) -> None:
        assert "All answers are the same" in (await visit("/compare?a=first.cassette&b=first.cassette")).text
        assert "Choose two" in (await visit("/compare")).text

    visiting(dialogue, *two)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ("a=first.cassette", 400),
        ("a=first.cassette&b=none", 400),
        ("a=first.cassette&b=second.cassette/ffffffff", 400),
        ("a=first.cassette/ffffffff&b=second.cassette/ffffffff", 400),
        ("a=none/aa&b=none/bb", 404),
        ("a=first.cassette/zz~x&b=second.cassette/~9", 400),
    ],
)
def test_what_cannot_be_compared_is_an_error(two: tuple[Path, Path], arguments: str, status: int) -> None:
    """With a sentence."""

    async def dialogue(visit: Visit) -> None:
        assert (await visit(f"/compare?{arguments}")).status == status

    visiting(dialogue, *two)


def test_a_page_has_a_bound(two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many pairs the first are read; of too many exchanges the page names the verb."""
    monkeypatch.setattr(compare, "MOST_PAIRS", 5)

    async def dialogue(visit: Visit) -> None:
        path = "/compare?a=first.cassette&b=second.cassette"
        assert "first 5 pairs were read" in (await visit(path)).text
        monkeypatch.setattr(compare, "MOST_EXCHANGES", 5)
        answer = await visit(path)
        assert answer.status == 400
        assert "replayproxy diff" in answer.text

    visiting(dialogue, *two)
