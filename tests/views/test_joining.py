"""Joining two cassettes: by stored keys, by other rules, without masks, by what a driver noted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import orjson

from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.redaction import Redactor
from replayproxy.model import Request
from replayproxy.ports import ExchangePart
from replayproxy.views.joining import joined, joined_by_source
from replayproxy.views.pairing import Pairing
from replayproxy.views.port import EVERYTHING, ExchangeFilter
from tests.cli.tapes import answer, asked, chat, writing

SECRET = "sk-proj-" + "Ab1" * 16


def recorded(path: Path, *parts: ExchangePart, rules: MatchRules | None = None) -> Path:
    """A cassette with these."""
    with writing(path, rules) as keep:
        keep(*parts)
    return path


def numbers(pairing: Pairing) -> tuple[list[tuple[int, int]], int, int]:
    """The pairs, and how many are left on either side."""
    pairs = [(one.number, other.number) for one, other in pairing.pairs]
    return pairs, len(pairing.missing), len(pairing.extra)


def pairs_of(
    first: Path, second: Path, rules: MatchRules | None = None, chosen: ExchangeFilter = EVERYTHING
) -> tuple[list[tuple[int, int]], int, int]:
    """Join two files."""
    with CassetteBrowser.open(first) as one, CassetteBrowser.open(second) as other:
        return numbers(joined(one, other, chosen, rules))


def test_equal_requests_meet_in_their_order(tmp_path: Path) -> None:
    """Also a broken answer takes its place."""
    first = recorded(tmp_path / "a", chat("x", started=0), chat("y", started=1), chat("x", started=2))
    second = recorded(tmp_path / "b", chat("x", started=0), chat("x", started=1), chat("z", started=2))
    assert pairs_of(first, second) == ([(1, 1), (3, 2)], 1, 1)


def test_rules_of_the_comparison_count(tmp_path: Path) -> None:
    """Recordings with different rules are joined by those of the first, or by what is asked."""
    first = recorded(tmp_path / "a", chat("on 2026-11-17"), rules=MatchRules(normalise=("date",)))
    second = recorded(tmp_path / "b", chat("on 2026-11-18"))
    assert pairs_of(first, second) == ([(1, 1)], 0, 0)
    assert pairs_of(second, first) == ([], 1, 1)
    assert pairs_of(second, first, MatchRules(normalise=("date",))) == ([(1, 1)], 0, 0)


def test_only_chosen_exchanges_are_joined(tmp_path: Path) -> None:
    """On both sides."""
    first = recorded(tmp_path / "a", chat("x"), answer(asked("bad"), b"{}", status=400))
    second = recorded(tmp_path / "b", chat("x"), answer(asked("bad"), b"{}", status=400))
    assert pairs_of(first, second, chosen=ExchangeFilter(where="status = 400")) == ([(2, 2)], 0, 0)


def test_a_secret_in_a_prompt_meets_itself(tmp_path: Path) -> None:
    """Its mask has a hash that belongs to one cassette, so that keys alone would not meet."""
    paths = []
    for name, salt in (("a", b"one salt"), ("b", b"another salt")):
        redactor = Redactor(salt * 4)
        writer = CassetteWriter(tmp_path / name, Matcher(MatchRules(), redactor))
        part = chat(f"my key is {SECRET}")
        writer.begin()
        writer.keep(replace(part, request=redactor.request(part.request)))
        writer.commit()
        writer.seal()
        paths.append(tmp_path / name)
    with CassetteBrowser.open(paths[0]) as one, CassetteBrowser.open(paths[1]) as other:
        assert one.row(1)["key"] != other.row(1)["key"]
    assert pairs_of(paths[0], paths[1]) == ([(1, 1)], 0, 0)


def driven(source: str, prompt: str, started: int) -> ExchangePart:
    """A request of a driver, which notes what it was made from and may have changed it."""
    part = chat(prompt, started=started)
    body = orjson.dumps(orjson.loads(part.request.body) | {"model": "another"})
    fields = (*part.request.headers, ("X-Replayproxy-Source", source))
    return replace(part, request=Request("POST", part.request.target, fields, body))


def by_source(first: Path, parts: Sequence[ExchangePart], second: Path) -> tuple[list[tuple[int, int]], int, int]:
    """Record, and join by what is noted."""
    recorded(second, *parts)
    with CassetteBrowser.open(first) as one, CassetteBrowser.open(second) as other:
        return numbers(joined_by_source(one, other))


def test_a_driver_s_note_joins_what_no_key_would(tmp_path: Path) -> None:
    """The model was renamed; one request was never sent; what is not noted is joined by key."""
    first = recorded(tmp_path / "a", *(chat(prompt, started=place) for place, prompt in enumerate("xyz")))
    with CassetteBrowser.open(first) as one:
        ids = [one.row(number)["id"] for number in (1, 2)]
    parts = [driven(ids[1], "y", 0), driven(ids[0], "x", 1), chat("z", started=2), chat("new", started=3)]
    assert by_source(first, parts, tmp_path / "b") == ([(1, 2), (2, 1), (3, 3)], 0, 1)


def test_without_notes_it_is_joined_by_key(tmp_path: Path) -> None:
    """As `diff` does."""
    first = recorded(tmp_path / "a", chat("x"))
    assert by_source(first, [chat("x")], tmp_path / "b") == ([(1, 1)], 0, 0)


def test_two_runs_of_a_driver_meet_by_what_both_noted(tmp_path: Path) -> None:
    """Although their bodies differ, and although the ids are those of a third recording."""
    notes = [("0000000a", 0), ("0000000b", 1), ("0000000a;loop=1", 2)]
    first, second = tmp_path / "a", tmp_path / "b"
    with writing(first) as keep:
        keep(*(driven(source, f"salted one {place}", 1000 * place) for source, place in notes))
    parts = [driven(source, f"salted two {place}", 1000 * place) for source, place in reversed(notes[1:])]
    assert by_source(first, parts, second) == ([(2, 2), (3, 1)], 1, 0)
