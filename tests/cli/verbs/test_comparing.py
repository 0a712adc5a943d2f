"""`diff` and `compare`: exit codes, output files, one pair, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from replayproxy.cassette.browse import CassetteBrowser
from tests.cli.tapes import Read, chat, writing
from tests.views.test_comparison import record


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two recordings of the same work, of which one answer differs in one token."""
    first = record(tmp_path / "a.cassette", count=12)
    words = ["Hi", " there", " number", " two", " and", " on"]
    return first, record(tmp_path / "b.cassette", seed=1, count=12, words=words)


def test_exit_codes(read: Read, two: tuple[Path, Path]) -> None:
    """0 the same, 5 different or a gate failed, 9 undecided; also what undecided is made to count as."""
    first, second = two
    assert read("diff", first, first).code == 0
    assert read("diff", first, second).code == 5
    assert read("diff", first, second, "--level", "structure").code == 0
    assert read("diff", first, first, "--gate", "ttft<=0.5").code == 5
    undecided = ("diff", first, second, "--level", "none", "--gate", "p95(ttft) <= 1.000001")
    assert read(*undecided).code == 9
    assert read(*undecided, "--inconclusive", "pass").code == 0
    assert read(*undecided, "--inconclusive", "fail").code == 5
    assert read("diff", first, second, "--where", "status = 400").code == 9


def test_json_and_files(read: Read, two: tuple[Path, Path], tmp_path: Path) -> None:
    """JSON on stdout; JUnit and Markdown beside it."""
    junit, markdown = tmp_path / "r.xml", tmp_path / "r.md"
    done = read("diff", *two, "--json", "--junit", junit, "--markdown", markdown)
    assert json.loads(done.out)["counts"]["different"] == 1
    assert "<testsuites" in junit.read_text()
    assert markdown.read_text().startswith("### ❌ failed")


def test_no_report_replaces_a_cassette(read: Read, two: tuple[Path, Path], tmp_path: Path) -> None:
    """Nor do two reports share a file."""
    before = two[0].read_bytes()
    assert read("diff", *two, "--junit", two[0]).code == 2
    assert read("diff", *two, "--markdown", two[1]).code == 2
    assert read("diff", *two, "--junit", tmp_path / "x", "--markdown", tmp_path / "x").code == 2
    assert two[0].read_bytes() == before


def test_one_pair_by_id(read: Read, two: tuple[Path, Path]) -> None:
    """Its partner is found; two ids are two exchanges, whatever they asked."""
    with CassetteBrowser.open(two[0]) as browser:
        ids = [browser.row(number)["id"] for number in (1, 2)]
    done = read("diff", *two, ids[0])
    assert (done.code, "token 3" in done.out) == (5, True)
    assert read("diff", *two, ids[1]).code == 0
    across = read("diff", two[0], two[0], *ids, "--json")
    assert (across.code, json.loads(across.out)["first"]["id"]) == (0, ids[0])


def test_a_pair_without_a_partner_is_a_sentence(read: Read, two: tuple[Path, Path], tmp_path: Path) -> None:
    """That says what to do."""
    with writing(tmp_path / "other") as keep:
        keep(chat("alone"))
    with CassetteBrowser.open(tmp_path / "other") as browser:
        alone = browser.row(1)["id"]
    done = read("diff", tmp_path / "other", two[0], alone)
    assert (done.code, "give the id of another one" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("diff",), "name two cassettes"),
        (("diff", "a", "b", "1", "2", "3"), "one id, or two"),
        (("diff", "A", "B", "--gate", "p95(latency) < 2"), "latency is not measured"),
        (("diff", "A", "B", "--csv"), "not rows: use --json"),
        (("compare", "A"), "name pairs of first and second"),
        (("compare", "A", "B", "A"), "name pairs of first and second"),
        (("compare", "A", "B", "--noise", "auto"), "needs repeated runs"),
    ],
)
def test_mistakes_are_sentences(read: Read, two: tuple[Path, Path], arguments: tuple[str, ...], sentence: str) -> None:
    """Exit code 2, and what to do."""
    named = {"A": str(two[0]), "B": str(two[1])}
    done = read(*(named.get(word, word) for word in arguments))
    assert done.code == 2
    assert sentence in done.err


def test_compare_decides_over_runs(read: Read, tmp_path: Path) -> None:
    """Three interleaved repeats; the noise is measured among the runs of the first server."""
    paths: list[Path] = []
    for run in range(3):
        paths.append(record(tmp_path / f"a{run}", seed=run, count=12))
        paths.append(record(tmp_path / f"b{run}", 1.3, seed=run + 10, count=12))
    gate = ("--gate", "ttft <= 1.15", "--min-runs", "3", "--noise", "auto")
    assert read("compare", *paths, *gate).code == 5
    firsts = [path for run in range(3) for path in (paths[2 * run], paths[2 * ((run + 1) % 3)])]
    assert read("compare", *firsts, *gate).code == 0
    assert read("compare", *firsts[:2], "--gate", "ttft <= 1.15", "--min-runs", "3").code == 9
    noisy = read("compare", *firsts[:2], "--gate", "ttft <= 1.15", "--noise", paths[1])
    assert (noisy.code, "already differ" in noisy.out) == (9, True)


def test_compare_allows_another_wording(read: Read, two: tuple[Path, Path]) -> None:
    """Another server, or another batch, gives other words; another structure is a failure."""
    assert read("compare", *two).code == 0
    assert read("compare", *two, "--level", "text").code == 5


def test_explain(read: Read) -> None:
    """What each number means, without a cassette."""
    assert "bootstrap" in read("diff", "--explain").out
    assert "bootstrap" in read("compare", "--explain").out


def test_help_ends_with_an_example(read: Read) -> None:
    """To paste."""
    assert "replayproxy diff monday.cassette tuesday.cassette" in read("diff", "--help").out
    assert "--gate 'p95(ttft) <= 1.10'" in read("compare", "--help").out
