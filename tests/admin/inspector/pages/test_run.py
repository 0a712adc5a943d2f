"""Misses and unused recordings: of a report, of a live replay, and of none."""

from __future__ import annotations

from pathlib import Path

from replayproxy.admin.inspector.service import run_of
from replayproxy.core.sequence import AtEnd
from replayproxy.model import RecordingRef, Request
from replayproxy.proxy.result import RecordingInfo, RunResult
from replayproxy.settings import Replaying
from tests import wire
from tests.admin.inspector.visits import Markup, Visit, visiting
from tests.apps import replaying, run, running
from tests.cli.commands import tape
from tests.cli.tapes import asked


def test_without_a_run_the_pages_say_how_to_get_one(traffic: Path) -> None:
    """A cassette by itself has none."""

    async def dialogue(visit: Visit) -> None:
        for path in ("/misses", "/unused"):
            assert "--report FILE" in (await visit(path)).text
            assert (await visit(f"{path}.json")).json["run"] is None

    visiting(dialogue, traffic)


def test_a_replay_shows_its_misses_and_what_was_not_used(tmp_path: Path) -> None:
    """On its admin port, while it runs: what differs from the nearest recording, with a link to it."""
    path = tape(tmp_path / "chat.cassette", "why is the sky blue", "what is rain")

    async def get(url: str, target: str) -> wire.Answer:
        return await wire.ask(url, Request("GET", target))

    async def dialogue() -> None:
        settings = replaying(path, replaying=Replaying(at_end=AtEnd.REFUSE))
        async with running(settings, admin=True) as proxy:
            assert proxy.admin_url is not None
            for prompt in ("why is the sky blue", "why is the sky green"):
                request = asked(prompt)
                await wire.ask(proxy.url, Request("POST", request.target, request.headers, request.body))
            misses = await get(proxy.admin_url, "/inspector/misses")
            page = Markup(misses.body.decode())
            assert "no_match" in page.text
            assert "$.messages" in page.text
            assert "green" in page.text
            nearest = [link for link in page.links if "/exchange/chat.cassette/" in link]
            assert (await get(proxy.admin_url, nearest[0])).status == 200
            unused = Markup((await get(proxy.admin_url, "/inspector/unused")).body.decode())
            assert "Unused1" in "".join(unused.text.split())
            assert len([link for link in unused.links if "/exchange/chat.cassette/" in link]) == 1

    run(dialogue())


def test_a_report_is_shown_in_pages(traffic: Path) -> None:
    """However many recordings it names."""
    infos = tuple(
        RecordingInfo(str(traffic), f"{n:08x}", RecordingRef("rp1:00", n), "POST", "/v1/x") for n in range(450)
    )
    whole = RunResult.empty("replay", (str(traffic),))
    report = RunResult.from_document({**whole.document(), "unused": [info.document() for info in infos]})

    async def dialogue(visit: Visit) -> None:
        assert len((await visit("/unused.json")).json["unused"]) == 450
        rows = [(await visit(f"/unused?from={first}")).text.count("<tr data-row>") for first in (1, 201, 401)]
        assert rows == [200, 200, 50]
        assert "Every request so far had a recording" in (await visit("/misses")).text

    visiting(dialogue, traffic, shown=run_of(report))
