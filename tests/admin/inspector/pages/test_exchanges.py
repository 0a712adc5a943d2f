"""The list: pages that begin where the one before ended, filters, order, live."""

from __future__ import annotations

from pathlib import Path

from tests.admin.inspector.visits import Visit, visiting
from tests.cli.tapes import chat, in_flight, writing


async def walk(visit: Visit, start: str, direction: str) -> list[int]:
    """The numbers of all rows, page by page."""
    numbers: list[int] = []
    arguments: str | None = start
    while arguments is not None:
        data = (await visit(f"/list.json?{arguments}")).json
        numbers += [row["number"] for row in data["rows"]]
        arguments = data[direction]
        assert len(numbers) <= 120
    return numbers


def test_every_exchange_is_on_one_page(traffic: Path) -> None:
    """The newest first, to the oldest; and back again."""

    async def dialogue(visit: Visit) -> None:
        assert await walk(visit, "n=50", "older") == list(range(120, 0, -1))
        oldest = (await visit("/list.json?n=50&before=21")).json
        assert [row["number"] for row in oldest["rows"]] == list(range(20, 0, -1))
        assert oldest["older"] is None
        newer = (await visit(f"/list.json?{oldest['newer']}")).json
        assert [row["number"] for row in newer["rows"]] == list(range(70, 20, -1))

    visiting(dialogue, traffic)


def test_filters_hold_from_page_to_page(traffic: Path) -> None:
    """And what meets them is counted."""

    async def dialogue(visit: Visit) -> None:
        first = (await visit("/list.json?n=20&model=chat-70b")).json
        numbers = await walk(visit, "n=20&model=chat-70b", "older")
        counted = (await visit("/overview.json")).json["models"]["chat-70b"]
        assert len(set(numbers)) == len(numbers) == first["matching"] == counted
        assert (first["exchanges"], first["filters"]) == (120, {"model": "chat-70b"})

    visiting(dialogue, traffic)


def test_a_sorted_list_has_pages_too(traffic: Path) -> None:
    """By a column, the rows without a value at the end."""

    async def dialogue(visit: Visit) -> None:
        numbers = await walk(visit, "n=25&sort=-ttft", "older")
        assert sorted(numbers) == list(range(1, 121))
        rows = (await visit("/list.json?n=25&sort=-ttft")).json["rows"]
        values = [row["ttft_s"] for row in rows]
        assert values == sorted(values, reverse=True)

    visiting(dialogue, traffic)


def test_what_is_in_flight_is_in_the_list(tmp_path: Path) -> None:
    """While it is recorded, and then as it ended; live is offered for the newest page only."""
    path = tmp_path / "a.cassette"

    async def dialogue(visit: Visit) -> None:
        with writing(path) as keep:
            whole = chat("one")
            keep(in_flight(whole))
            page = await visit("/list?live=1")
            assert "in flight" in page.text
            assert 'http-equiv="refresh"' in page.text  # for those without JavaScript
            keep(chat("two"))
            changed = await visit("/list?live=1", If_None_Match=page.headers["ETag"])
            assert changed.status == 200
            assert len((await visit("/list.json")).json["rows"]) == 2
        assert "data-live" not in (await visit("/list?sort=ttft&live=1")).text
        assert "data-live" not in (await visit("/list?before=2")).text
        assert 'data-live="off"' in (await visit("/list")).text

    visiting(dialogue, path)
