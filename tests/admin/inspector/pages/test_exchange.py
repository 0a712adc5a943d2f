"""One exchange: messages, chunks, legs, bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from replayproxy.admin.inspector.pages import exchange
from tests.admin.inspector.visits import Markup, Visit, visiting
from tests.cli.tapes import answer, asked, writing
from tests.recordings import record, samples
from tools.example_traffic import long_stream, written


async def find(visit: Visit, where: str) -> dict[str, Any]:
    """The newest row that meets a condition."""
    row: dict[str, Any] = (await visit(f"/list.json?where={where}")).json["rows"][0]
    return row


def test_request_and_answer_are_messages(traffic: Path) -> None:
    """With reasoning and tool calls, and the tools that were offered."""

    async def dialogue(visit: Visit) -> None:
        row = await find(visit, "finish='tool_calls'")
        data = (await visit(f"/exchange/traffic.cassette/{row['id']}.json")).json
        assert [message["role"] for message in data["messages"]] == ["system", "user"]
        assert [(part["kind"], part["name"]) for part in data["answer"][0]["parts"]] == [
            ("reasoning", None),
            ("tool call", "get_weather"),
        ]
        assert data["tools"][0]["name"] == "get_weather"
        assert data["response"]["body"].endswith("data: [DONE]\n\n")
        page = Markup((await visit(f"/exchange/traffic.cassette/{row['id']}")).text)
        for words in ("What is the weather in Paris?", '{"city": "Paris"}', "1 tool offered", "curl -X POST"):
            assert words in page.text

    visiting(dialogue, traffic)


def test_a_pair_has_a_waterfall(traffic: Path) -> None:
    """With each leg and its server."""

    async def dialogue(visit: Visit) -> None:
        row = await find(visit, "legs=2")
        page = (await visit(f"/exchange/traffic.cassette/{row['id']}")).text
        assert "prefill http://127.0.0.1:8100: from 0 ms" in page
        assert "decode http://127.0.0.1:8200" in page

    visiting(dialogue, traffic)


def test_every_kind_of_exchange_has_a_page(tmp_path: Path) -> None:
    """Errors, cuts, no answer, no body, bytes that are no text, other codings."""
    path = record(tmp_path / "samples.cassette", samples())

    async def dialogue(visit: Visit) -> None:
        rows = (await visit("/list.json")).json["rows"]
        assert len(rows) == len(samples())
        for row in rows:
            answer = await visit(f"/exchange/samples.cassette/{row['id']}?number={row['number']}")
            assert answer.status == 200, answer.text
            twin = await visit(f"/exchange/samples.cassette/{row['id']}.json?number={row['number']}")
            assert twin.json["number"] == row["number"]

    visiting(dialogue, path)


def test_a_long_stream_has_pages_of_chunks(tmp_path: Path) -> None:
    """And a page that stays small; its timeline is binned."""
    path = written(tmp_path / "long.cassette", [long_stream(5_000)])

    async def dialogue(visit: Visit) -> None:
        id = (await visit("/list.json")).json["rows"][0]["id"]
        first = await visit(f"/exchange/long.cassette/{id}")
        assert len(first.body) < 400_000
        assert "1 to 200 of 5\u2009000" in first.text
        last = await visit(f"/exchange/long.cassette/{id}?chunk=4801")
        assert "4\u2009801 to 5\u2009000 of" in last.text
        assert (await visit(f"/exchange/long.cassette/{id}?chunk=0")).status == 400
        assert "no body" in (await visit(f"/exchange/long.cassette/{id}?chunk=99999")).text

    visiting(dialogue, path)


def test_a_long_body_is_cut_and_its_bytes_are_whole(tmp_path: Path) -> None:
    """The page shows its beginning; the file has all of it, unchanged."""
    path, body = tmp_path / "a.cassette", b'"' + b"\xc3\xa4" * exchange.MOST_TEXT + b'"'
    with writing(path) as keep:
        keep(answer(asked("x"), body))

    async def dialogue(visit: Visit) -> None:
        id = (await visit("/list.json")).json["rows"][0]["id"]
        page = await visit(f"/exchange/a.cassette/{id}")
        assert "Only its beginning is shown" in page.text
        assert len(page.body) < 3 * exchange.MOST_TEXT
        assert (await visit(f"/exchange/a.cassette/{id}/answer.bin")).body == body
        assert b'"x"' in (await visit(f"/exchange/a.cassette/{id}/request.bin")).body

    visiting(dialogue, path)


@pytest.mark.parametrize("text", ["it's", "a'; rm -rf /; '", "$(x) `y` \\"])
def test_a_command_quotes_what_was_recorded(tmp_path: Path, text: str) -> None:
    """One word for a shell, whatever a stranger has sent."""
    import shlex

    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(answer(asked(text), b"{}"))

    async def dialogue(visit: Visit) -> None:
        row = (await visit("/list.json")).json["rows"][0]
        page = Markup((await visit(f"/exchange/a.cassette/{row['id']}")).text)
        command = "curl -X " + page.text.partition("curl -X ")[2].partition("\n\n")[0]
        words = shlex.split(command.replace("\\\n", ""))
        data = words[words.index("--data-binary") + 1]
        sent = await visit(f"/exchange/a.cassette/{row['id']}/request.bin")
        assert data.strip() == sent.text

    visiting(dialogue, path)
