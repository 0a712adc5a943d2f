"""A comparison as data: one JSON object with a `schema`, the same for `diff` and `compare`. Times are in seconds."""

from __future__ import annotations

from typing import Any

from replayproxy.core.comparison.agreement_level import AgreementLevel, AnswerComparison, AnswerDifference
from replayproxy.core.comparison.gate import GateResult
from replayproxy.core.comparison.statistic import Estimate
from replayproxy.views.comparison import ComparedPair, ComparisonReport, RunComparison, counts_of
from replayproxy.views.pairing import PairedRow

SCHEMA = "replayproxy-comparison/1"


def verdict_word(level: AgreementLevel) -> str:
    """What a level means in one word, as in reports: identical, benign, changed, regression."""
    return {
        AgreementLevel.BYTES: "identical",
        AgreementLevel.FRAMES: "identical",
        AgreementLevel.CANONICAL: "benign",
        AgreementLevel.TEXT: "benign",
        AgreementLevel.STRUCTURE: "changed",
        AgreementLevel.NONE: "regression",
    }[level]


def report_fields(report: ComparisonReport) -> dict[str, Any]:
    """The whole report."""
    policy = report.policy
    return {
        "schema": SCHEMA,
        "verdict": report.outcome.value,
        "exit_code": report.exit_code,
        "level": policy.level.name.lower(),
        "confidence": policy.confidence,
        "counts": counts_of(report.runs, policy.level),
        "checks": [
            {"name": check.name, "verdict": check.outcome.value, "reason": check.reason} for check in report.checks
        ],
        "gates": [_gate(gate, policy.noise.get(gate.gate.text)) for gate in report.gates],
        "times": {time.name: [_estimate(estimate) for estimate in time.estimates] for time in report.times},
        "runs": [_run(run) for run in report.runs],
    }


def _gate(result: GateResult, noise: float | None) -> dict[str, Any]:
    return {
        "expr": result.gate.text,
        "measure": result.gate.measure,
        "kind": result.gate.kind.value,
        "limit": result.gate.limit,
        "value": result.value,
        "interval": [result.low, result.high],
        "noise": noise,
        "verdict": result.outcome.value,
        "reason": result.reason,
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        "statistic": estimate.statistic,
        "pairs": estimate.pairs,
        "first_s": estimate.first,
        "second_s": estimate.second,
        "ratio": estimate.ratio,
        "interval": [estimate.low, estimate.high],
    }


def _run(run: RunComparison) -> dict[str, Any]:
    return {
        "first": run.names[0],
        "second": run.names[1],
        "pairs": run.pairs,
        "joined_by_source": run.pairing.noted,
        "missing": [_row(row) for row in run.pairing.missing],
        "extra": [_row(row) for row in run.pairing.extra],
        "levels": {level.name.lower(): run.levels[level] for level in reversed(AgreementLevel)},
        "kinds": dict(run.kinds),
        "paths_added": dict(run.added_paths),
        "errors": list(run.errors),
        "starved": run.starved,
        "other_lengths": run.other_lengths,
        "unreadable": list(run.unreadable),
        "differing": [pair_fields(pair) for pair in run.differing],
    }


def _row(row: PairedRow) -> dict[str, Any]:
    return {"id": row.id, "request": row.name, "model": row.model, "status": row.status, "ending": row.ending}


def pair_fields(pair: ComparedPair) -> dict[str, Any]:
    """One pair with everything in which its answers differ."""
    return {"first": _row(pair.first), "second": _row(pair.second), **answers_fields(pair.answers)}


def answers_fields(answers: AnswerComparison) -> dict[str, Any]:
    """How two answers compare."""
    return {
        "level": answers.level.name.lower(),
        "verdict": verdict_word(answers.level),
        "differences": [_difference(difference) for difference in answers.differences],
        "shape": {
            "added": list(answers.shape.added),
            "removed": list(answers.shape.removed),
            "changed": [
                {"path": change.path, "first": change.first, "second": change.second}
                for change in answers.shape.changed
            ],
        },
        "cached_tokens": list(answers.cached),
        "output_tokens": list(answers.counted),
    }


def _difference(difference: AnswerDifference) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": difference.kind,
        "what": difference.what,
        "first": difference.first,
        "second": difference.second,
    }
    if (place := difference.place) is not None:
        found |= {
            "path": place.path,
            "choice": place.choice,
            "token": place.token,
            "character": place.character,
            "chunk": place.chunk,
            "shared": place.shared,
            "before": place.before,
        }
    return found
