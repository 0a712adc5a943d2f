"""Where the legs of a pair are made: on the event loop, in a thread, or in another process."""

from __future__ import annotations

import asyncio
import gzip
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import orjson
import pytest

from replayproxy.core.dialects.facts import parsed
from replayproxy.core.effort import HEAVY, SHORT
from replayproxy.core.pd import ProtocolOptions, SplitRequest, protocol
from replayproxy.model import Request, Response, Timeline
from replayproxy.net.leg_maker import LegMaker, Place
from tests.core.pd.split_requests import CHAT, DECODE, ID, MINT, PREFILL
from tests.core.pd.test_nixl import TICKET

T = TypeVar("T")

GZIP = (("Content-Encoding", "gzip"),)


class Elsewhere:
    """A worker that notes what it is given."""

    def __init__(self) -> None:
        self.jobs: list[str] = []

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """In a thread, as far as the caller can tell."""
        self.jobs.append(work.__name__)
        return await asyncio.to_thread(work, *arguments)


def chat(size: int) -> bytes:
    """A chat whose question has so many bytes."""
    return orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "a" * size}]})


def answer(body: dict[str, object]) -> Response:
    """What a prefill said."""
    content = orjson.dumps(body)
    return Response(200, (), content, (len(content),), Timeline(0, (0,), 0))


REQUESTS: list[tuple[str, Request, Place]] = [
    ("short", Request("POST", CHAT, (), chat(100)), Place.LOOP),
    ("no body", Request("GET", "/v1/models"), Place.LOOP),
    ("long", Request("POST", CHAT, (), chat(SHORT)), Place.THREAD),
    ("short, packed", Request("POST", CHAT, GZIP, gzip.compress(chat(100))), Place.THREAD),
    ("long, packed", Request("POST", CHAT, GZIP, gzip.compress(chat(SHORT))), Place.THREAD),
    ("lists", Request("POST", CHAT, (), b'{"a":[' + b"[]," * 20_000 + b"1]}"), Place.PROCESS),
    ("heavy", Request("POST", CHAT, (), chat(HEAVY)), Place.PROCESS),
    ("heavy, packed", Request("POST", CHAT, GZIP, gzip.compress(chat(HEAVY))), Place.PROCESS),
    ("heavy, not JSON", Request("POST", CHAT, (), b"[" * 100_000), Place.PROCESS),
]


@pytest.mark.parametrize("name", ["nixl", "plain", "bootstrap-room"])
@pytest.mark.parametrize(("request_", "place"), [row[1:] for row in REQUESTS], ids=[row[0] for row in REQUESTS])
def test_each_step_is_where_the_body_needs_it(name: str, request_: Request, place: Place) -> None:
    """A heavy body is never parsed in this process, and its values do not come back from the other one."""
    worker = Elsewhere()
    chosen = protocol(name, ProtocolOptions())
    maker = LegMaker(chosen, worker)

    async def steps() -> list[str]:
        outline, found = await maker.outline(request_)
        assert found is place
        if not outline.is_split:
            return ["outline_alone"]
        assert bool(outline.body) == (place is not Place.PROCESS)
        split = SplitRequest(request_, outline.body, ID, MINT, PREFILL, DECODE)
        prefill = await maker.prefill(place, split)
        assert orjson.loads(prefill.body)["model" if b"model" in prefill.body else "a"]
        assert (await maker.decode(place, split, TICKET)).body
        assert (await maker.releasing(place, split, TICKET)).body
        decode = [] if chosen.keeps_decode_body else ["decode_leg"]
        return ["outline_alone", "prefill_leg", *decode, "releasing_leg"]

    expected = asyncio.run(steps())
    assert worker.jobs == (expected if place is Place.PROCESS else [])


@pytest.mark.parametrize(
    ("more", "in_loop", "jobs"),
    [({}, True, []), ({"x": "a" * SHORT}, False, []), ({"x": [[]] * HEAVY}, False, ["ticket_in"])],
    ids=["short", "long", "heavy"],
)
def test_the_answer_of_a_prefill_is_parsed_where_its_length_needs_it(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, object], in_loop: bool, jobs: list[str]
) -> None:
    """It may be as long as its log probabilities are."""
    threads: list[bool] = []

    def watching(body: bytes) -> dict[str, object]:
        threads.append(threading.current_thread() is threading.main_thread())
        return parsed(body)

    monkeypatch.setattr(sys.modules["replayproxy.core.pd.nixl"], "parsed", watching)
    worker = Elsewhere()
    maker = LegMaker(protocol("nixl", ProtocolOptions()), worker)
    assert asyncio.run(maker.ticket(answer({"kv_transfer_params": TICKET, **more}))) == TICKET
    assert (threads, worker.jobs) == ([in_loop], jobs)
