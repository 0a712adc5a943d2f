"""Tests of `views/statistics` and its table: `replayproxy stats`."""

from __future__ import annotations

import json
import random
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from replayproxy.cassette.database import Lock
from tests.cli.tapes import Read, Watch, answer, asked, chat, in_flight, writing


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Path]:
    """Two models; what broke, failed or runs still is beside."""
    path = tmp_path / "two.cassette"
    with writing(path, sealed=False) as keep:
        keep(
            chat("a", words=["w"] * 11, usage=(10, 11), started=0),  # 100 ms, then every 20; ends at 301
            chat("b", words=["w"] * 6, at=[200, 210, 220, 230, 240, 400], usage=(10, 6), started=100),
            chat("c", words=["w"] * 3, at=[10, 10, 10], usage=None, model="other", started=1000),
            answer(asked("d"), b"{}", status=500, took=9000, started=0),
            in_flight(chat("e", started=0)),
        )
    recorder = Lock(path)
    yield path
    recorder.release()


def rows(read: Read, *arguments: str | Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The data rows by group and measure."""
    ran = read("stats", *arguments, "--json")
    assert (ran.code, ran.err) == (0, "")
    return {(row["group"], row["measure"]): row for row in json.loads(ran.out)}


def test_what_is_measured(read: Read, two: Path) -> None:
    """By hand: TTFT, gaps, TPOT, totals and tokens of what ended well."""
    found = rows(read, two)
    ttft = found["tiny", "ttft_s"]
    assert (ttft["n"], ttft["avg"], ttft["min"], ttft["max"], ttft["p50"]) == (
        2,
        pytest.approx(0.15),
        0.1,
        0.2,
        pytest.approx(0.15),
    )
    gaps = [0.02] * 10 + [0.001] + [0.01] * 4 + [0.16] + [0.001]
    gap = found["tiny", "chunk_gap_s"]
    assert (gap["n"], gap["p50"], gap["max"]) == (17, 0.02, pytest.approx(0.16))
    assert gap["avg"] == pytest.approx(statistics.fmean(gaps))
    assert gap["std"] == pytest.approx(statistics.pstdev(gaps))
    assert found["tiny", "tpot_s"]["max"] == pytest.approx((0.401 - 0.2) / 5)
    assert (found["tiny", "total_s"]["min"], found["tiny", "total_s"]["max"]) == (0.301, 0.401)
    assert found["tiny", "output_tokens"]["avg"] == 8.5
    assert ("other", "tpot_s") not in found


def test_what_is_counted(read: Read, two: Path) -> None:
    """Errors, endings and what is in flight are counted and not measured."""
    found = rows(read, two)
    counted = {measure: row["n"] for (group, measure), row in found.items() if group == "tiny" and row["avg"] is None}
    assert counted == {"exchanges": 3, "streamed": 2, "errors": 1, "ended complete": 3}
    assert found["(no model)", "ended in flight"]["n"] == 1


def test_how_much_ran_at_once(read: Read, two: Path) -> None:
    """From 0 to 301 ms one, from 100 to 501 another: busy for 501 ms, two at once for 201."""
    found = rows(read, two)
    assert found["tiny", "busy_s"]["avg"] == pytest.approx(0.501)
    assert found["tiny", "requests_per_s"]["avg"] == pytest.approx(2 / 0.501)
    assert found["tiny", "output_tokens_per_s"]["avg"] == pytest.approx(17 / 0.501)
    assert found["tiny", "concurrency"]["avg"] == pytest.approx((0.3 + 2 * 0.201) / 0.501)
    assert (found["tiny", "concurrency"]["p50"], found["tiny", "concurrency"]["max"]) == (1, 2)


GROUPS = [
    ("model", ["tiny", "(no model)", "other"]),
    ("endpoint", ["POST /v1/chat/completions"]),
    ("none", ["all"]),
    ("status", ["200", "500"]),
    ("hour", ["2026-11-18 11:00"]),
]


@pytest.mark.parametrize(("by", "groups"), GROUPS)
def test_groups(read: Read, two: Path, by: str, groups: list[str]) -> None:
    """The largest first."""
    assert list(dict.fromkeys(group for group, _ in rows(read, two, "--by", by))) == groups


def test_legs_are_measured_by_their_servers(read: Read, mixed: Path) -> None:
    """Each as an answer of its own: when its head came, and its end."""
    found = rows(read, mixed, "--by", "leg")
    groups = list(dict.fromkeys(group for group, _ in found))
    assert [group.partition(" ")[0] for group in groups] == ["decode", "prefill"]
    for group in groups:
        assert found[group, "exchanges"]["n"] == 1
        assert 0 < found[group, "head_s"]["p50"] <= found[group, "total_s"]["p50"]
    pairs = rows(read, mixed)["tiny", "prefill_s"]
    assert pairs["p50"] == pytest.approx(found[groups[1], "total_s"]["p50"])


def test_hours_are_in_the_order_of_time(read: Read, tmp_path: Path) -> None:
    """Whatever their sizes."""
    path, hour = tmp_path / "hours.cassette", 3_600_000
    with writing(path) as keep:
        keep(*(chat(str(n), started=started) for n, started in enumerate([0, hour, hour + 1, 3 * hour])))
    found = rows(read, path, "--by", "hour")
    assert [(group, row["n"]) for (group, measure), row in found.items() if measure == "exchanges"] == [
        ("2026-11-18 11:00", 1),
        ("2026-11-18 12:00", 2),
        ("2026-11-18 14:00", 1),
    ]


def test_several_cassettes(read: Read, two: Path, mixed: Path) -> None:
    """Together, or side by side."""
    together = rows(read, two, mixed, "--by", "none")
    assert together["all", "exchanges"]["n"] == 13
    apart = rows(read, two, mixed, "--by", "cassette")
    assert {group: row["n"] for (group, measure), row in apart.items() if measure == "exchanges"} == {
        str(mixed): 8,
        str(two): 5,
    }


def test_a_choice_narrows(read: Read, two: Path) -> None:
    """The same flags as for ls."""
    assert rows(read, two, "--where", "ttft_s > 0.15", "--until", "2030-01-01")["tiny", "exchanges"]["n"] == 1
    assert rows(read, two, "--since", "1m") == {}


def test_a_table_for_people(read: Read, two: Path) -> None:
    """Definitions are a flag away."""
    ran = read("stats", two)
    assert ran.out.splitlines() == [
        f"{two}   5 exchanges, 2026-11-18 11:06:40 to 11:06:41 UTC, 1 error, 1 in flight",
        "                     avg      min      p50      p90      p95      p99      max      std   n",
        "tiny (2 measured, 2 streamed)",
        "  TTFT            150 ms   100 ms   150 ms   190 ms   195 ms   199 ms   200 ms  50.0 ms   2",
        "  Chunk gap      23.6 ms   1.0 ms  20.0 ms  20.0 ms  48.0 ms   138 ms   160 ms  34.7 ms  17",
        "  TPOT           30.1 ms  20.1 ms  30.1 ms  38.2 ms  39.2 ms  40.0 ms  40.2 ms  10.1 ms   2",
        "  Total           351 ms   301 ms   351 ms   391 ms   396 ms   400 ms   401 ms  50.0 ms   2",
        "  Output tokens      8.5        6      8.5     10.5     10.8     10.9       11      2.5   2",
        "(no model) (0 measured)  nothing to measure",
        "other (1 measured, 1 streamed)",
        "  TTFT           10.0 ms  10.0 ms  10.0 ms  10.0 ms  10.0 ms  10.0 ms  10.0 ms     0 ms   1",
        "  Chunk gap      0.33 ms     0 ms     0 ms  0.80 ms  0.90 ms   1.0 ms   1.0 ms  0.47 ms   3",
        "  Total          11.0 ms  11.0 ms  11.0 ms  11.0 ms  11.0 ms  11.0 ms  11.0 ms     0 ms   1",
        "Output     33 tok/s, 5.86 answers/s while busy (512 ms), in flight p50 1, max 2 (1 answer said no usage)",
    ]
    assert ran.err == "What each number means:  replayproxy stats --explain\n"


def test_the_shape_of_ttft(read: Read, tmp_path: Path) -> None:
    """On a logarithmic line, where there is enough of it."""
    path, chance = tmp_path / "many.cassette", random.Random(7)
    with writing(path) as keep:
        keep(
            *(
                chat(f"{n}", at=[(first := chance.uniform(10, 1000)), first + 9, first + 18], started=n)
                for n in range(40)
            )
        )
    line = next(line for line in read("stats", path).out.splitlines() if "(log)" in line)
    assert re.fullmatch(r"  TTFT  [\d.]+ ms \|[ ▁▂▃▄▅▆▇█]{40}\| \d+ ms \(log\)", line)


def test_the_span_is_that_of_all_exchanges(read: Read, tmp_path: Path) -> None:
    """Also of those that are not measured: they are counted on the same line."""
    path = tmp_path / "failed.cassette"
    with writing(path) as keep:
        keep(
            answer(asked("a"), b"{}", status=500, took=1, started=1000),
            chat("b", words=["w"] * 3, started=2000),
            answer(asked("c"), b"{}", status=500, took=1, started=5000),
        )
    line = read("stats", path).out.splitlines()[0]
    assert line == f"{path}   3 exchanges, 2026-11-18 11:06:41 to 11:06:45 UTC, 2 errors"


def test_definitions(read: Read) -> None:
    """Every line of the table is explained; no cassette is needed."""
    ran = read("stats", "--explain")
    assert ran.code == 0
    for word in ("TTFT", "Chunk gap", "TPOT", "Total", "Output tokens", "percentiles", "in flight"):
        assert re.search(rf"^{word} +\S", ran.out, re.MULTILINE), word


def test_definitions_break_between_words(watch: Watch) -> None:
    """On a terminal, and go on below what they say, not below the name."""
    lines = [line.rstrip() for line in watch(80, "stats", "--explain", NO_COLOR="1")[1].splitlines()]
    assert lines[:2] == [
        "TTFT           time of the first event with content, since the request was",
        "               complete",
    ]
    assert max(map(len, lines)) <= 80


def test_nothing_to_measure(read: Read, empty: Path) -> None:
    """Is no error; no cassette is."""
    assert read("stats", empty).out == f"{empty}   0 exchanges\n"
    ran = read("stats")
    assert (ran.code, "name a cassette" in ran.err) == (2, True)
