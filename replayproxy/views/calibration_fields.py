"""A calibration as data, and its rules as flags to paste. Knows no terminal."""

from __future__ import annotations

import shlex
from typing import Any

from replayproxy.core.identity.calibration import Calibration, Evidence, Proposal

SCHEMA = "replayproxy-calibration/1"


def as_flags(proposals: tuple[Proposal, ...]) -> list[str]:
    """Each rule as one writes it in a shell."""
    return [f"--{proposal.option.replace('_', '-')} {shlex.quote(proposal.value)}" for proposal in proposals]


def rules_by_key(proposals: tuple[Proposal, ...]) -> dict[str, list[str]]:
    """The rules by the keys of a configuration file."""
    found: dict[str, list[str]] = {"match-ignore": [], "match-normalise": []}
    for proposal in proposals:
        found[proposal.option.replace("_", "-")].append(proposal.value)
    return found


def calibration_fields(found: Calibration) -> dict[str, Any]:
    """Everything as one JSON object."""
    return {
        "schema": SCHEMA,
        "requests": list(found.requests),
        "matched_before": found.before,
        "matched_after": found.after,
        "safe": found.is_safe,
        **{key.replace("-", "_"): values for key, values in rules_by_key(found.proposals).items()},
        "proposals": [
            {"option": proposal.option, "value": proposal.value, **_evidence(proposal.evidence)}
            for proposal in found.proposals
        ],
        "unexplained": [
            {"second": left.second, "first": left.first, "places": [_evidence(place) for place in left.places]}
            for left in found.unexplained
        ],
        "merged": [
            {
                "run": group.run + 1,
                "requests": list(group.requests),
                "paths": list(group.paths),
                "asked_in_both_runs": group.stable,
            }
            for group in found.merged
        ],
    }


def _evidence(evidence: Evidence) -> dict[str, Any]:
    return {"path": evidence.path, "first": evidence.first, "second": evidence.second, "times": evidence.times}
