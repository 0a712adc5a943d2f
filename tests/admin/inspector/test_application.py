"""The inspector as an application: pages and twins, access and headers, hostile recordings, errors."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import orjson
import pytest

from replayproxy.admin.inspector.access import HEADERS, Access
from replayproxy.admin.inspector.application import PAGES
from tests.admin.inspector.visits import ATTACKS, Markup, Visit, visiting
from tests.cli.commands import tape

TOKEN = "a-token-of-twenty-letters"


def paths_of(cassette: str, id: str) -> list[str]:
    """The path of each page, and of its twin."""
    paths = [path for route in PAGES for path in (route.path, route.twin)]
    return [path.replace("<cassette>", quote(cassette)).replace("<id>", id) for path in paths]


async def some_id(visit: Visit) -> str:
    """The id of the newest exchange."""
    return str((await visit("/list.json")).json["rows"][0]["id"])


def test_every_page_and_its_twin_answer(traffic: Path) -> None:
    """HTML with the headers of the policy, JSON that can be read."""

    async def dialogue(visit: Visit) -> None:
        for path in paths_of("traffic.cassette", await some_id(visit)):
            answer = await visit(path)
            assert answer.status == 200, (path, answer.text)
            assert {name: answer.headers[name] for name in HEADERS} == dict(HEADERS), path
            if path.endswith(".json"):
                assert answer.headers["Content-Type"] == "application/json"
                assert isinstance(answer.json, dict)
            else:
                assert answer.text.startswith("<!doctype html>")
                assert answer.text.count("<h1>") == 1, path

    visiting(dialogue, traffic)


def test_pages_load_only_files_of_the_inspector(traffic: Path) -> None:
    """Nothing inline, nothing from elsewhere, and each link of each page leads somewhere."""

    async def dialogue(visit: Visit) -> None:
        followed: set[str] = set()
        for path in paths_of("traffic.cassette", await some_id(visit)):
            if path.endswith(".json"):
                continue
            page = Markup((await visit(path)).text)
            assert page.handlers == []
            assert page.scripts == ["/static/inspector.js"]
            for link in {*page.loads, *page.links}:
                assert not link.startswith(("http:", "https:", "//", "data:", "javascript:")), (path, link)
                target = link if link.startswith("/") else f"{path.partition('?')[0]}{link}"
                kind = target.partition("?")[0]
                if not link.startswith("#") and kind not in followed:
                    followed.add(kind)
                    assert (await visit(target.partition("#")[0])).status == 200, (path, target)

    visiting(dialogue, traffic)


def test_a_hostile_recording_stays_text(attacked: Path) -> None:
    """Each attack is read on the page as it was recorded, and none has become an element, a handler or a template."""

    async def dialogue(visit: Visit) -> None:
        ids = [row["id"] for row in (await visit("/list.json")).json["rows"]]
        assert len(ids) == len(ATTACKS)
        pages = [*paths_of("hostile.cassette", ids[0]), *(f"/exchange/hostile.cassette/{id}" for id in ids)]
        read = ""
        for path in pages:
            answer = await visit(path)
            assert answer.status == 200, (path, answer.text[:500])
            if path.endswith(".json"):
                continue
            page = Markup(answer.text)
            assert page.handlers == [], path
            assert page.scripts == ["/static/inspector.js"], path
            assert {"img", "iframe", "object", "embed", "base"} & set(page.tags) == set(), path
            assert [link for link in page.links if not link.startswith(("/", "?", "#"))] == [], path
            assert "\u202e" not in answer.text
            assert "\x1b" not in answer.text
            read += page.text
        for attack in ATTACKS:
            shown = attack.replace("\u202e", "\\u202e").replace("\x1b", "\\x1b").replace("\0", "\\x00")
            assert shown.replace("\u2028", "\\u2028") in read, attack

    visiting(dialogue, attacked)


def test_hostile_arguments_stay_text(traffic: Path) -> None:
    """Also those that come back in an error."""

    async def dialogue(visit: Visit) -> None:
        for attack in ATTACKS:
            for name in ("model", "status", "where", "cassette", "sort", "before"):
                answer = await visit(f"/list?{name}={quote(attack)}")
                assert answer.status in (200, 400, 404), (name, answer.text)
                page = Markup(answer.text)
                assert page.handlers == []
                assert page.scripts == ["/static/inspector.js"]
                assert "img" not in page.tags

    visiting(dialogue, traffic)


def test_bytes_are_a_download(attacked: Path) -> None:
    """A stranger's HTML never becomes a page of this origin."""

    async def dialogue(visit: Visit) -> None:
        id = await some_id(visit)
        for part in ("request", "answer"):
            answer = await visit(f"/exchange/hostile.cassette/{id}/{part}.bin")
            assert answer.headers["Content-Type"] == "application/octet-stream"
            assert answer.headers["Content-Disposition"].startswith("attachment;")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.body
        assert (await visit(f"/exchange/hostile.cassette/{id}/other.bin")).status == 404

    visiting(dialogue, attacked)


ERRORS = [
    ("/nope", 404),
    ("/exchange/traffic.cassette/zzzz", 400),
    ("/exchange/traffic.cassette/ffffffffffffffff", 400),
    ("/exchange/other.cassette/aaaa", 404),
    ("/list?cassette=other", 404),
    ("/list?where=no_such_column", 400),
    ("/list?where=1)%20OR%20(1", 400),
    ("/list?before=1&after=1", 400),
    ("/stats?by=colour", 400),
    (f"/list?model={'x' * 5000}", 400),
]


@pytest.mark.parametrize(("path", "status"), ERRORS)
def test_an_error_is_a_page_with_a_sentence(traffic: Path, path: str, status: int) -> None:
    """And JSON with the same sentence in the twin."""

    async def dialogue(visit: Visit) -> None:
        answer = await visit(path)
        assert answer.status == status
        assert answer.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
        assert "Traceback" not in answer.text
        name, _, arguments = path.partition("?")
        twin = await visit(f"{name}.json?{arguments}")
        assert twin.status == status
        assert len(twin.json["error"]) > 10

    visiting(dialogue, traffic)


def test_damage_is_said_on_a_page(tmp_path: Path) -> None:
    """With the sentence of the error, and no traceback."""
    path = tmp_path / "a.cassette"
    path.write_bytes(tape(tmp_path / "b.cassette", "x").read_bytes()[:5000])

    async def dialogue(visit: Visit) -> None:
        answer = await visit("/list")
        assert answer.status == 500
        assert "a.cassette" in answer.text
        assert "Traceback" not in answer.text

    visiting(dialogue, path)


def test_without_the_token_nothing_is_shown(traffic: Path) -> None:
    """No page, no twin, no file; the token in the URL becomes a cookie that scripts cannot read, and leaves the URL."""
    access = Access(frozenset({"localhost"}), TOKEN)

    async def dialogue(visit: Visit) -> None:
        for path in (*paths_of("traffic.cassette", "00"), "/static/inspector.css", "/charts.css", "/nope"):
            answer = await visit(path)
            assert answer.status == 401, path
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert "traffic" not in answer.text
        assert (await visit("/list.json", Authorization=f"Bearer {TOKEN}")).status == 200
        assert (await visit("/list.json", Authorization="Bearer wrong-token-of-mine")).status == 401
        entered = await visit(f"/list?token={TOKEN}&model=tiny")
        assert (entered.status, entered.headers["Location"]) == (303, "/list?model=tiny")
        cookie = entered.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert (await visit("/list")).status == 200  # with the cookie

    visiting(dialogue, traffic, access=access)


def test_other_names_sites_and_methods_are_refused(traffic: Path) -> None:
    """The whole table is in test_access; here it is seen to be used."""

    async def dialogue(visit: Visit) -> None:
        assert (await visit("/list", Host="evil.example")).status == 403
        assert (await visit("/list", Origin="http://evil.example")).status == 403
        assert (await visit("/list", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")).status == 403
        assert (await visit("/list", method="POST")).status == 405
        assert (await visit("/static/inspector.js", Host="evil.example")).status == 403

    visiting(dialogue, traffic)


def test_a_page_that_has_not_changed_is_not_sent_again(traffic: Path) -> None:
    """What live tail asks for every second."""

    async def dialogue(visit: Visit) -> None:
        tag = (await visit("/list?live=1")).headers["ETag"]
        again = await visit("/list?live=1", If_None_Match=tag)
        assert (again.status, again.body) == (304, b"")
        assert (await visit("/list?live=1&model=embed", If_None_Match=tag)).status == 200

    visiting(dialogue, traffic)


def test_it_can_stand_below_a_path(traffic: Path) -> None:
    """As on the admin port: all links lead there."""

    async def dialogue(visit: Visit) -> None:
        page = Markup((await visit("/inspector/")).text)
        assert [link for link in page.links if not link.startswith(("/inspector/", "#", "?"))] == []
        assert all(load.startswith("/inspector/") for load in page.loads)
        assert (await visit("/inspector/nope")).status == 404
        assert orjson.loads((await visit("/elsewhere")).body) == {"error": "404 Not Found"}

    visiting(dialogue, traffic, prefix="/inspector")
