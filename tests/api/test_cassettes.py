"""Tests of `api/cassettes`: what a program reads from a cassette, and what it adds to one."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from replayproxy import (
    Cassette,
    CassetteError,
    Exchange,
    Locked,
    NoSuchExchange,
    NotACassette,
    SettingsError,
)
from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.database import Lock
from replayproxy.core.identity.rules import MatchRules
from tests.cli.tapes import DAY

START = datetime.fromtimestamp(DAY / 1e9, UTC)


def ids(exchanges: object) -> list[int | None]:
    """Their numbers."""
    assert isinstance(exchanges, Cassette) or hasattr(exchanges, "__iter__")
    return [exchange.number for exchange in exchanges]


def test_a_cassette_is_a_collection_of_exchanges(five: Path) -> None:
    """By time, as often as it is gone through; with a length."""
    with Cassette.open(five) as cassette:
        assert len(cassette) == 5
        assert ids(cassette) == ids(cassette) == [1, 2, 3, 4, 5]
        assert [exchange.status for exchange in cassette] == [200, 200, 400, 200, 200]
        assert repr(cassette) == f"<Cassette {five} open>"
    assert repr(cassette) == f"<Cassette {five} closed>"
    with Cassette(str(five)) as named_by_text:
        assert named_by_text.path == five


def test_an_empty_cassette_is_a_cassette(tmp_path: Path) -> None:
    """It is true, and holds nothing."""
    with Cassette.create(tmp_path / "new.cassette") as cassette:
        assert cassette
        assert (len(cassette), list(cassette), bool(cassette.filter(status=200))) == (0, [], False)


FILTERS: list[tuple[dict[str, object], list[int]]] = [
    ({}, [1, 2, 3, 4, 5]),
    ({"model": "b"}, [2]),
    ({"endpoint": "/v1/models"}, [4]),
    ({"endpoint": "POST /v1/chat/completions", "status": 200}, [1, 2, 5]),
    ({"where": "prompt_tokens > :n", "values": {"n": 100}}, [5]),
    ({"where": "model = :m OR legs", "values": {"m": "a' OR 1 --"}}, [5]),
    ({"since": START + timedelta(minutes=1), "until": START + timedelta(minutes=3)}, [2, 3]),
    ({"since": DAY + 240 * 10**9}, [5]),
]


@pytest.mark.parametrize(("conditions", "expected"), FILTERS)
def test_conditions_are_those_of_ls(five: Path, conditions: dict[str, object], expected: list[int]) -> None:
    """All of them must be met; values are bound."""
    with Cassette.open(five) as cassette:
        chosen = cassette.filter(**conditions)  # type: ignore[arg-type]  # a table of calls
        assert ids(chosen) == expected
        assert (len(chosen), bool(chosen)) == (len(expected), bool(expected))
        assert [row["number"] for row in chosen.rows()] == expected
        assert repr(chosen) == f"<{len(expected)} exchanges of {five}>"


@pytest.mark.parametrize(
    ("conditions", "sentence"),
    [
        ({"where": "modle = 1"}, "did you mean model"),
        ({"where": "status = :s"}, ":s has no value"),
        ({"where": "1; DROP TABLE exchange"}, "leave the ; away"),
        ({"values": {"s": 1}}, "where='status = :s'"),
    ],
)
def test_a_condition_that_is_none_is_a_mistake(five: Path, conditions: dict[str, object], sentence: str) -> None:
    """When it is given, not when it is used."""
    with Cassette.open(five) as cassette, pytest.raises(SettingsError, match=sentence):
        cassette.filter(**conditions)  # type: ignore[arg-type]  # a table of calls


def test_a_time_without_a_zone_is_a_mistake(five: Path) -> None:
    """Whose time would it be?"""
    with Cassette.open(five) as cassette, pytest.raises(ValueError, match="no time zone"):
        cassette.filter(since=datetime(2026, 11, 18))  # noqa: DTZ001  the mistake


def test_an_exchange_is_found_by_the_beginning_of_its_id(five: Path) -> None:
    """As `show` finds it; an unknown id is a lookup error with a sentence."""
    with Cassette.open(five) as cassette:
        first = next(iter(cassette))
        assert first.id is not None
        assert cassette[first.id] == cassette[first.id[:6]] == cassette.get(first.id) == first
        assert first.id in cassette
        assert 5 not in cassette
        unknown = "0" * 8
        assert unknown not in cassette
        assert (cassette.get(unknown), cassette.get(unknown, 7)) == (None, 7)
        for id, sentence in ((unknown, "no exchange on"), ("hello", "not an id"), ("", "not an id")):
            with pytest.raises(NoSuchExchange, match=sentence):
                cassette[id]
        assert issubclass(NoSuchExchange, LookupError)


def test_each_thread_may_read(five: Path) -> None:
    """At the same time."""
    found: list[list[int | None]] = []
    with Cassette.open(five) as cassette:
        threads = [threading.Thread(target=lambda: found.append(ids(cassette))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [[1, 2, 3, 4, 5]] * 4


def test_what_is_no_cassette_has_its_own_errors(tmp_path: Path, five: Path) -> None:
    """Missing, something else, there already, closed."""
    with pytest.raises(NotACassette):
        Cassette.open(tmp_path / "missing.cassette")
    (tmp_path / "text").write_text("something else")
    with pytest.raises(NotACassette):
        Cassette.open(tmp_path / "text")
    with pytest.raises(CassetteError, match="is there already"):
        Cassette.create(five)
    cassette = Cassette.open(five)
    exchange = next(iter(cassette))
    cassette.close()
    cassette.close()
    assert exchange.status == 200
    for use in (lambda: len(cassette), lambda: exchange.text, lambda: cassette.add(Exchange.of("GET", "/"))):
        with pytest.raises(CassetteError, match="has been closed"):
            use()


# Adding


def test_what_is_added_is_there_at_once(five: Path, tmp_path: Path) -> None:
    """Reading and adding take turns; the file is sealed, and what `verify` says of it is nothing."""
    path = tmp_path / "new.cassette"
    with Cassette.open(five) as source, Cassette.create(path) as cassette:
        first, second, *rest = source
        cassette.add(first)
        assert repr(cassette) == f"<Cassette {path} adding>"
        assert (len(cassette), list(cassette)) == (1, [first])
        kept = next(iter(cassette))
        cassette.add(second.value)
        cassette.extend(rest)
        assert kept.text == first.text  # it was read before others came
        assert list(cassette) == list(source)
        assert [exchange.text for exchange in cassette] == [exchange.text for exchange in source]
        assert [exchange.legs for exchange in cassette] == [exchange.legs for exchange in source]
    assert not Path(f"{path}-wal").exists()
    assert verify(path) == (5, [])


def test_the_same_request_may_be_added_again(tmp_path: Path) -> None:
    """It is the next answer to it."""
    with Cassette.create(tmp_path / "new.cassette") as cassette:
        for text in ("first", "second"):
            cassette.add(Exchange.of("POST", "/v1/completions", {"prompt": "x"}, answer={"text": text}))
        assert [exchange.row["occurrence"] for exchange in cassette] == [0, 1]
        assert len({exchange.key for exchange in cassette}) == 1


def test_secrets_are_masked_and_fields_left_out(tmp_path: Path) -> None:
    """As a recorder does: the key in the header, its echo in the body, and what a rule names."""
    path = tmp_path / "new.cassette"
    secret = "opaque 9f8e7d6c5b4a39281706 token".replace(" ", "-")  # known by its header alone
    with Cassette.create(path, redact=["$.patient"]) as cassette:
        cassette.add(
            Exchange.of(
                "POST",
                "/v1/chat/completions",
                {"patient": "Erika Mustermann"},
                headers=[("Authorization", f"Bearer {secret}"), ("Content-Type", "application/json")],
                answer={"echo": secret},
                answer_headers=[("Content-Type", "application/json"), ("Set-Cookie", "session=secret-cookie-value")],
            )
        )
        (exchange,) = cassette
        seen = repr(exchange.value).encode() + path.read_bytes()
    for word in (secret, "Mustermann", "secret-cookie-value"):
        assert word.encode() not in seen


def test_rules_of_a_new_cassette(tmp_path: Path) -> None:
    """Keys are made by them, also of what is added later."""
    path = tmp_path / "new.cassette"
    Cassette.create(path, rules=MatchRules("default", ("$.user",))).close()
    with Cassette.open(path) as cassette:
        for user in "ab":
            cassette.add(Exchange.of("POST", "/v1/completions", {"prompt": "x", "user": user}))
        assert len({exchange.key for exchange in cassette}) == 1


def test_nothing_is_added_where_another_one_records(five: Path) -> None:
    """Nor to one on which secrets were not masked; reading goes on, and the file stays as it was."""
    lock = Lock(five)
    try:
        with Cassette.open(five) as cassette:
            with pytest.raises(Locked):
                cassette.add(Exchange.of("GET", "/"))
            assert len(cassette) == 5
    finally:
        lock.release()
    golden = Path(__file__).parents[2] / "cassettes" / "format-1.cassette"
    before = golden.read_bytes()
    with Cassette.open(golden) as old, pytest.raises(SettingsError, match="replayproxy redact"):
        old.add(Exchange.of("GET", "/"))
    assert golden.read_bytes() == before
