"""The verdict of a comparison: completeness, answers, times, repeated runs, noise."""

from __future__ import annotations

import random
from pathlib import Path
from typing import cast

import pytest

from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.core.comparison.agreement_level import AgreementLevel
from replayproxy.core.comparison.gate import Gate, GateOutcome
from replayproxy.errors import Damaged
from replayproxy.model import Response
from replayproxy.views.comparison import (
    ComparisonPolicy,
    ComparisonReport,
    RunComparison,
    compare_run,
    counts_of,
    judge,
    noise_of,
)
from replayproxy.views.joining import joined
from tests.cli.tapes import chat, writing

WORDS = ["Hi", " there", " number", " one", " and", " on"]


def record(path: Path, scale: float = 1.0, seed: int = 0, *, count: int = 40, words: list[str] | None = None) -> Path:
    """Chats whose TTFT is spread by 3 %, `scale` times as long."""
    chance = random.Random(seed)
    with writing(path) as keep:
        for number in range(count):
            ttft = (100 + 10 * (number % 7)) * scale * chance.lognormvariate(0, 0.03)
            said = WORDS if words is None or number else words
            times = [ttft + 20 * place for place in range(len(said))]
            keep(chat(f"hello {number}", words=said, at=times, started=1000 * number, usage=(10, len(said))))
    return path


def compared(first: Path, second: Path) -> RunComparison:
    """One pair of cassettes."""
    with CassetteBrowser.open(first) as one, CassetteBrowser.open(second) as other:
        return compare_run((str(first), str(second)), joined(one, other), one, other)


def judged(*runs: RunComparison, gates: tuple[str, ...] = (), **policy: object) -> ComparisonReport:
    """By these gates."""
    return judge(runs, ComparisonPolicy(tuple(map(Gate.parse, gates)), **policy))  # type: ignore[arg-type]  # of a test


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first recording of all."""
    return record(tmp_path_factory.mktemp("base") / "first")


@pytest.mark.parametrize("seed", range(1, 7))
def test_the_same_work_passes_and_a_slower_ttft_fails(seed: int, base: Path, tmp_path: Path) -> None:
    """Each time: equal servers pass all gates, TTFT +20 % fails that of TTFT and of nothing else."""
    gates = ("p95(ttft) <= 1.10", "ttft <= 1.10", "gap <= 1.10", "tpot <= 1.10", "missing == 0")
    same = judged(compared(base, record(tmp_path / "same", seed=seed)), gates=gates)
    assert same.exit_code == 0
    slower = judged(compared(base, record(tmp_path / "slower", 1.2, seed)), gates=gates)
    assert slower.exit_code == 5
    failed = [gate.gate.text for gate in slower.gates if gate.outcome is not GateOutcome.PASSED]
    assert failed == ["p95(ttft) <= 1.10", "ttft <= 1.10"]


def test_one_token_changed_fails_and_is_named(base: Path, tmp_path: Path) -> None:
    """By the pair and the place."""
    run = compared(base, record(tmp_path / "b", words=["Hi", " there", " number", " two", " and", " on"]))
    report = judged(run)
    assert (report.exit_code, run.levels) == (5, {AgreementLevel.BYTES: 39, AgreementLevel.STRUCTURE: 1})
    (pair,) = run.differing
    (difference,) = pair.answers.differences
    assert difference.place is not None
    assert difference.place.token == 3
    assert judged(run, level=AgreementLevel.STRUCTURE).exit_code == 0


def test_what_only_one_side_has_fails(base: Path, tmp_path: Path) -> None:
    """Unless a part is compared on purpose."""
    run = compared(base, record(tmp_path / "b", count=39))
    assert judged(run).exit_code == 5
    assert judged(run, partial=True).exit_code == 0
    assert counts_of([run], AgreementLevel.TEXT)["missing"] == 1


def test_nothing_compared_is_not_a_pass(tmp_path: Path) -> None:
    """Two empty recordings, also where parts may be compared."""
    run = compared(record(tmp_path / "a", count=0), record(tmp_path / "b", count=0))
    assert judged(run, partial=True).exit_code == 9
    assert judged(run, partial=True, inconclusive=GateOutcome.PASSED).exit_code == 0


def test_few_answers_decide_no_time(base: Path, tmp_path: Path) -> None:
    """Exit code 9, or what the user says that it is."""
    run = compared(record(tmp_path / "a", count=4), record(tmp_path / "b", count=4, seed=1))
    gates = ("ttft <= 1.10",)
    assert judged(run, gates=gates).exit_code == 9
    assert judged(run, gates=gates, inconclusive=GateOutcome.FAILED).exit_code == 5


def test_repeated_runs_are_decided_by_their_ratios(base: Path, tmp_path: Path) -> None:
    """A machine that drifts by 15 % in one of three runs makes no regression; a slower server does."""
    scales = (1.15, 0.99, 1.0)
    drift = [compared(base, record(tmp_path / f"d{seed}", scale, seed)) for seed, scale in enumerate(scales, 1)]
    assert judged(drift[0], gates=("ttft <= 1.10",)).exit_code == 5, "one run alone is fooled"
    assert judged(*drift, gates=("ttft <= 1.10",)).exit_code == 9
    slower = [compared(base, record(tmp_path / f"s{seed}", 1.2 * scale, seed)) for seed, scale in enumerate(scales, 1)]
    assert judged(*slower, gates=("ttft <= 1.10",)).exit_code == 5
    assert judged(*slower, gates=("ttft <= 1.10",), min_runs=5).outcome is GateOutcome.FAILED
    assert judged(*drift, min_runs=5).exit_code == 9


def test_noise_is_measured_on_the_same_server(base: Path, tmp_path: Path) -> None:
    """Its widest ratio, widened; counts and times have none."""
    gates = [Gate.parse(text) for text in ("ttft <= 1.10", "missing == 0", "p50(ttft) < 1s")]
    found = noise_of(gates, [compared(base, record(tmp_path / "b", 1.1, 3)).times])
    assert found.keys() == {"ttft <= 1.10"}
    assert found["ttft <= 1.10"] == pytest.approx(1.1**1.5, rel=0.02)


class DamagedAnswer:
    """A browser of which one answer is damaged."""

    def __init__(self, browser: CassetteBrowser, number: int) -> None:
        self._browser, self._number = browser, number

    def response(self, number: int) -> Response:
        """Every other one."""
        if number == self._number:
            raise Damaged(f"exchange {number} is damaged")
        return self._browser.response(number)


def test_a_damaged_exchange_is_named(base: Path) -> None:
    """The rest is compared; that it cannot be read is a failure."""
    with CassetteBrowser.open(base) as browser:
        broken = cast(CassetteBrowser, DamagedAnswer(browser, 3))
        run = compare_run(("a", "b"), joined(browser, browser), broken, browser)
    assert (run.pairs, run.unreadable) == (39, ("exchange 3 is damaged",))
    assert judged(run).exit_code == 5
