"""Tests of `cli/filtering`: the options that choose exchanges."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from replayproxy.cli.filtering import Moment
from replayproxy.net.clock import SystemClock
from tests.cli.tapes import DAY, Read, chat, writing

MOMENTS = [
    ("2026-11-18T11:06:40Z", DAY),
    ("2026-11-18T11:06:40", DAY),
    ("2026-11-18 11:06:40.000001", DAY + 1000),
    ("2026-11-18T12:06:40+01:00", DAY),
    ("2026-11-18", DAY - (11 * 3600 + 6 * 60 + 40) * 10**9),
    ("1969-12-31T23:59:59Z", -(10**9)),
]


@pytest.mark.parametrize(("text", "ns"), MOMENTS)
def test_a_moment_is_iso_and_utc(text: str, ns: int) -> None:
    """To the microsecond; with a zone, in that zone."""
    assert Moment().convert(text, None, None) == ns


def test_yaml_gives_datetimes() -> None:
    """A config file may hold a time without quotes."""
    assert Moment().convert(datetime(2026, 11, 18, 11, 6, 40, tzinfo=UTC), None, None) == DAY


@pytest.mark.parametrize(
    ("text", "seconds"), [("10m", 600), ("90s", 90), ("1.5h", 5400), ("2d", 172_800), ("1w", 604_800), ("10m ago", 600)]
)
def test_a_duration_is_so_long_ago(text: str, seconds: float) -> None:
    """Counted from now."""
    clock = SystemClock()
    now = clock.today()
    clock.close()
    moment = Moment().convert(text, None, None)
    assert 0 <= moment - (now - seconds * 10**9) < 60 * 10**9


@pytest.mark.parametrize("text", ["yesterday", "10", "", "2026-13-01", "m"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """With what to write."""
    with pytest.raises(click.BadParameter, match="write 2026"):
        Moment().convert(text, None, None)


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Three chats, a minute apart, of two models."""
    path = tmp_path / "three.cassette"
    with writing(path) as keep:
        keep(*(chat(f"{n}", model="ab"[n % 2], usage=(10 * n, 3), started=60_000 * n) for n in range(3)))
    return path


def chosen(read: Read, path: Path, *flags: str) -> list[str]:
    """The prompt tokens of the rows that were chosen."""
    ran = read("ls", path, "--tsv", "--no-headers", *flags)
    assert (ran.code, ran.err) == (0, "")
    return [line.split("\t")[22] for line in ran.out.splitlines()]


CHOICES: list[tuple[tuple[str, ...], list[str]]] = [
    ((), ["0", "10", "20"]),
    (("--where", "model = 'a'"), ["0", "20"]),
    (("--where", "model = :m", "-p", "m", "b"), ["10"]),
    (("--where", "prompt_tokens >= :n", "-p", "n", "10"), ["10", "20"]),
    (("--where", "ttft_s < :t", "--param", "t", "0.05"), []),
    (("--where", "ttft_s > :t", "-p", "t", "0.05", "-n", "1"), ["20"]),
    (("--where", "model = 'a' OR 1 -- all"), ["0", "10", "20"]),
    (("--where", "model = 'a' /* it; is ' one */"), ["0", "20"]),
    (("--where", "model <> ';)''--' AND (status = 200)"), ["0", "10", "20"]),
    (("--where", "model = $m OR model = @n", "-p", "m", "a", "-p", ":n", "b"), ["0", "10", "20"]),
    (("--since", "2026-11-18T11:07:40"), ["10", "20"]),
    (("--until", "2026-11-18T11:07:40"), ["0"]),
    (("--since", "2026-11-18T11:07", "--until", "2026-11-18T11:08", "--where", "model = 'b'"), ["10"]),
    (("--since", "1m"), []),
]


@pytest.mark.parametrize(("flags", "tokens"), CHOICES)
def test_choices(read: Read, three: Path, flags: tuple[str, ...], tokens: list[str]) -> None:
    """By SQL with bound values, and by time."""
    assert chosen(read, three, *flags) == tokens


def test_values_are_bound_and_not_pasted(read: Read, three: Path) -> None:
    """A value with a quote in it is a value."""
    assert chosen(read, three, "--where", "model = :m", "-p", "m", "a' OR '1'='1") == []


MISTAKES = [
    (("--where", "modle = 1"), "no such column: modle (did you mean model?). The columns are "),
    (("--where", "status = "), "this SQL cannot be run"),
    (("--where", "status = "), "incomplete input. The columns are"),
    (("--where", "status = 200 AND"), "incomplete input"),
    (("--where", "status 200"), 'near "200": syntax error'),
    (("--where", "1 ORDER BY 1 LIMIT 1; "), "leave the ; away"),
    (("--where", "status = 200;"), "leave the ; away"),
    (("--where", "1; DELETE FROM exchange"), "leave the ; away"),
    (("--where", "1); DELETE FROM exchange; SELECT (1"), "a ) too many: '); DELETE FROM exchange; SELE…'"),
    (("--where", "1) OR (1"), "a ) too many"),
    (("--where", "(1"), "a ( is not closed"),
    (("--where", "model = 'a"), """the quote that begins at "'a" is not closed"""),
    (("--where", "model = 'a''"), "is not closed"),
    (("--where", 'model = "a'), "is not closed"),
    (("--where", "model = `a"), "is not closed"),
    (("--where", "[model = 1"), "is not closed"),
    (("--where", "1 /* all"), "the comment that begins at '/* all' is not closed"),
    (("--where", ""), "it is empty"),
    (("--where", " -- nothing"), "it is empty"),
    (("--where", "1 UNION SELECT 1"), "this SQL cannot be run"),
    (("--where", "status = :s"), ":s has no value: give it with -p s VALUE"),
    (("--where", "status = ?"), "? has no name"),
    (("--where", "status = :s", "-p", "s", "1", "-p", "t", "2"), "-p t has no :t in it to bind"),
    (("--where", "status = :s", "-p", "s", "1", "-p", "s", "2"), "-p gives one name several values"),
    (("-p", "s", "1"), "-p s binds a name in --where"),
    (("--where", "1", "-p", "s"), "requires 2 arguments"),
    (("--where", "abs(-9223372036854775808)"), "integer overflow"),
    (("--since", "soon"), "'soon' is no time"),
    (("--sort", "tft"), "there is no column 'tft' (did you mean ttft?)"),
    (("--sort", "zzzzz"), "choose from number, id"),
    (("--json", "--csv"), "choose one of"),
    (("-n", "-1"), "-1 is not in the range"),
    (("--where", "model = '\udcff'"), "is not UTF-8"),
]


@pytest.mark.parametrize(("flags", "sentence"), MISTAKES)
def test_mistakes_get_a_sentence(read: Read, three: Path, flags: tuple[str, ...], sentence: str) -> None:
    """Exit code 2, and what to do."""
    for verb in ("ls", "stats", "prune"):
        if verb != "ls" and {"--sort", "-n", "--csv"} & set(flags):
            continue
        ran = read(verb, three, *flags)
        assert ran.code == 2
        assert sentence in re.sub(r"\s+", " ", ran.err)
        assert ran.out == ""
        assert not {"ORDER", "LIMIT -1", "SELECT *"} & set(re.findall(r"ORDER|LIMIT -1|SELECT \*", ran.err)) - set(
            re.findall(r"ORDER|LIMIT -1|SELECT \*", " ".join(flags))
        )
