"""Three cassettes become one: in front of somebody else's router, and in front of each of its servers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.editing.join import Joined, join
from replayproxy.errors import CassetteError
from replayproxy.model import Exchange, Request, Timeline
from tests.apps import exchanges
from tests.processes import replayproxy
from tests.recordings import asked, exchange, record, said

JSON = (("Content-Type", "application/json"),)
SECOND = 1_000_000_000
ADDED = {"stream": False, "logprobs": False, "separate_reasoning": True, "skip_special_tokens": True}
"""By the router."""


def at(seconds: float, request: Request, body: dict[str, Any], took: float = 0.1) -> Exchange:
    """An exchange that began then, after the recordings' epoch."""
    made = exchange(request, said([orjson.dumps(body)], headers=JSON))
    end = round(took * SECOND)
    response = replace(made.response, timeline=Timeline(end - 20_000, (end - 10_000,), end))
    return replace(made, recorded_at=1_700_000_000 * SECOND + round(seconds * SECOND), response=response)


def with_fields(request: Request, **fields: Any) -> Request:
    """As the router sends it on."""
    return replace(request, body=orjson.dumps(orjson.loads(request.body) | ADDED | fields))


def one(number: int, began: float, answer: dict[str, Any]) -> tuple[Exchange, Exchange, Exchange]:
    """A client's request, its prefill and its decode."""
    request = asked("the same question")
    ticket = {"remote_engine_id": f"e{number}", "remote_block_ids": [number], "remote_request_id": f"p{number}"}
    first = with_fields(request, max_tokens=1, kv_transfer_params={"do_remote_decode": True})
    return (
        at(began, request, answer, 0.5),
        at(began + 0.1, first, {"kv_transfer_params": ticket}),
        at(began + 0.25, with_fields(request, kv_transfer_params=ticket), answer, 0.2),
    )


def cassettes(folder: Path, parts: list[tuple[Exchange, Exchange, Exchange]], *alone: Exchange) -> list[Path]:
    """Front, prefill and decode; `alone` are the front's own."""
    front, prefill, decode = zip(*parts, strict=True)
    # What ends first is written first: the decodes come in another order than their requests.
    written = {"front": [*front, *alone], "prefill": list(prefill), "decode": list(decode)[::-1]}
    return [record(folder / f"{name}.cassette", made) for name, made in written.items()]


def test_the_clients_view_is_the_fronts(tmp_path: Path) -> None:
    """Request, answer and time as the client had them; legs as the servers did; what has no legs is kept."""
    parts = [one(number, float(number), {"id": f"chatcmpl-{number}", "choices": []}) for number in range(3)]
    models = at(9, Request("GET", "/v1/models"), {"data": []})
    front, prefill, decode = cassettes(tmp_path, parts, models)
    out = tmp_path / "out.cassette"
    assert join(out, prefill, decode, front) == Joined(pairs=3, alone=1, left=0, unseen=0)
    assert verify(out) == (4, [])
    *pairs, kept = exchanges(out)
    assert kept.request.path == "/v1/models"
    assert kept.legs == ()
    for (client, first, last), joined in zip(parts, pairs, strict=True):
        assert joined.request.body == client.request.body
        assert joined.response.body == client.response.body
        assert joined.recorded_at // 1_000_000 == client.recorded_at // 1_000_000
        assert [leg.role for leg in joined.legs] == ["prefill", "decode"]
        assert [leg.request.body for leg in joined.legs] == [first.request.body, last.request.body]
        assert [leg.response.body for leg in joined.legs] == [first.response.body, last.response.body]
        assert [round(leg.started / SECOND, 2) for leg in joined.legs] == [0.1, 0.25]


def test_equal_requests_without_ids_find_their_legs_by_time(tmp_path: Path) -> None:
    """A request outlasts those that it causes."""
    parts = [one(number, float(number), {"text": f"answer {number}"}) for number in range(3)]
    front, prefill, decode = cassettes(tmp_path, parts)
    out = tmp_path / "out.cassette"
    assert join(out, prefill, decode, front).pairs == 3
    for joined in exchanges(out):
        assert joined.legs[1].response.body == joined.response.body


def test_what_no_client_asked_for_is_left_out(tmp_path: Path) -> None:
    """A pair that came from elsewhere, and a prefill without a decode."""
    parts = [one(number, float(number), {"id": f"chatcmpl-{number}"}) for number in range(2)]
    front, prefill, decode = cassettes(tmp_path, parts)
    few = record(tmp_path / "few.cassette", [parts[0][0]])
    assert join(tmp_path / "a.cassette", prefill, decode, few) == Joined(pairs=1, alone=0, left=0, unseen=1)
    one_decode = record(tmp_path / "one.cassette", [parts[1][2]])
    assert join(tmp_path / "b.cassette", prefill, one_decode, front) == Joined(pairs=1, alone=1, left=1, unseen=0)


def test_the_verb_takes_three(tmp_path: Path) -> None:
    """And says what became of them; what is there already stays."""
    front, prefill, decode = cassettes(tmp_path, [one(0, 0.0, {"id": "chatcmpl-0"})])
    flags = ("--front", front, "--prefill", prefill, "--decode", decode)
    ran = replayproxy("join", tmp_path / "out.cassette", *flags)
    assert ran.returncode == 0, ran.stderr
    assert "1 pairs; 0 exchanges of the router without a pair" in ran.stderr
    with pytest.raises(CassetteError, match="there already"):
        join(tmp_path / "out.cassette", prefill, decode, front)
