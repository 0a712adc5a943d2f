"""Fields of answers from the server through a cassette to a replayed client, as `record`'s options say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from replayproxy.cassette.checking.secrets import scan
from replayproxy.cassette.reader import CassetteReader
from replayproxy.core.headers import NOT_STORED_IN_WORDS, STORED_OF_REQUESTS, StoredFields
from replayproxy.model import Headers, Request
from replayproxy.settings import RecordingSettings
from tests.apps import exchanges, recording, replaying, run, running
from tests.doubles.upstreams import Send, answer, scripted
from tests.processes import replayproxy
from tests.recordings import asked, exchange, record, said
from tests.wire import Answer, ask, post

ASKED = post("/v1/chat/completions", {"model": "tiny", "messages": []})
KEPT: Headers = (
    ("WWW-Authenticate", "Bearer"),
    ("Link", "<a>; rel=next"),
    ("Link", "<b>; rel=last"),
    ("Mcp-Session-Id", "17"),
    ("X-Inference-Pod", "gpu7"),
    ("X-Empty", ""),
)
HANDED_OUT: Headers = (
    ("Set-Cookie", "sid=abc123; Path=/; HttpOnly"),
    ("Set-Cookie", "theme=dark"),
    ("X-Csrf-Token", "hush"),
)


async def _through(tmp_path: Path, fields: StoredFields, request: Request = ASKED) -> tuple[Answer, Answer]:
    """What the client gets live and in replay."""
    cassette = tmp_path / "a.cassette"
    sent = [f"{name}: {value}".encode() for name, value in (*KEPT, *HANDED_OUT)]
    async with scripted(Send(answer("200 OK", b"{}", *sent)), again=True) as server:
        async with running(recording(cassette, server.url, recording=RecordingSettings(fields=fields))) as proxy:
            live = await ask(proxy.url, request)
    async with running(replaying(cassette)) as proxy:
        return live, await ask(proxy.url, request)


def _of(answer: Answer, names: Headers) -> Headers:
    wanted = {name.lower() for name, _ in names}
    return tuple(line for line in answer.headers if line[0].lower() in wanted)


def test_a_replay_has_every_field_but_what_lets_somebody_in(tmp_path: Path) -> None:
    """Repeated fields in their order, and an empty one; the live client gets credentials too."""
    live, again = run(_through(tmp_path, StoredFields()))
    assert _of(live, KEPT) == _of(again, KEPT) == KEPT
    assert _of(live, HANDED_OUT) == HANDED_OUT
    assert _of(again, HANDED_OUT) == ()
    with CassetteReader(tmp_path / "a.cassette") as cassette:
        assert cassette.meta["left_out"] == {"set-cookie": 1, "x-csrf-token": 1}
    assert "fields of answers: set-cookie 1, x-csrf-token 1" in replayproxy("info", tmp_path / "a.cassette").stdout
    assert list(scan(tmp_path / "a.cassette")) == []


def test_a_kept_credential_is_masked(tmp_path: Path) -> None:
    """A cookie keeps its name and its attributes, and every value its length; no secret is found on the cassette."""
    _, again = run(_through(tmp_path, StoredFields.of(keep=["set-cookie", "x-csrf-token"])))
    assert _of(again, HANDED_OUT) == (
        ("Set-Cookie", "sid=******; Path=/; HttpOnly"),
        ("Set-Cookie", "theme=****"),
        ("X-Csrf-Token", "****"),
    )
    assert list(scan(tmp_path / "a.cassette")) == []


def test_a_dropped_field_is_not_on_the_cassette(tmp_path: Path) -> None:
    """Neither of the answer nor of the request."""
    fields = StoredFields.of(drop=["Link", "user-agent"])
    request = post("/v1/chat/completions", {"model": "tiny"}, ("User-Agent", "mine"))
    _, again = run(_through(tmp_path, fields, request))
    assert _of(again, KEPT) == tuple(line for line in KEPT if line[0] != "Link")
    (kept,) = exchanges(tmp_path / "a.cassette")
    assert not {"user-agent", "link"} & {name.lower() for name, _ in kept.request.headers}


@pytest.mark.parametrize("field", ["Set-Cookie: sid=abcdef", "X-Auth-Token: 12", "X-Client-Secret: x"])
def test_verify_names_a_field_that_holds_a_credential(tmp_path: Path, field: str) -> None:
    """On a cassette whose recorder did not mask it."""
    name, _, value = field.partition(": ")
    answered = said([b"{}"], headers=(("Content-Type", "application/json"), (name, value)))
    path = record(tmp_path / "a.cassette", [exchange(asked("hello"), answered)])
    assert [(leak.field, leak.kind) for leak in scan(path)] == [(f"answer header {name}", "a credential")]


def test_the_list_is_documented() -> None:
    """In docs/secrets.md and in `record --help`, in the same words as in the code."""
    page = " ".join((Path(__file__).parents[1] / "docs/secrets.md").read_text("utf-8").split())
    assert NOT_STORED_IN_WORDS in page
    assert all(f"`{name}`".lower() in page.lower() for name in STORED_OF_REQUESTS)
    shown = re.sub(r"-\n\s+", "-", replayproxy("record", "--help").stdout)
    assert NOT_STORED_IN_WORDS in " ".join(shown.split())
