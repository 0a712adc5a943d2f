"""A calibration as data, and as flags to paste."""

from __future__ import annotations

import json
import shlex

import orjson

from replayproxy.core.identity.calibration import calibrate
from replayproxy.core.identity.rules import MatchRules
from replayproxy.views.calibration_fields import SCHEMA, as_flags, calibration_fields, rules_by_key
from tests.core.identity.test_calibration import agent


def test_everything_as_data() -> None:
    """Counts, rules, evidence; JSON all through."""
    found = calibrate(agent(1), agent(2), MatchRules())
    fields = calibration_fields(found)
    assert json.loads(orjson.dumps(fields)) == fields
    assert (fields["schema"], fields["matched_before"], fields["matched_after"], fields["safe"]) == (SCHEMA, 0, 5, True)
    assert fields["match_ignore"] == ["$.x_run"]
    assert fields["match_normalise"] == list(found.rules.normalise)
    assert fields["proposals"][0].keys() == {"option", "value", "path", "first", "second", "times"}


def test_flags_survive_a_shell() -> None:
    """Whatever the pattern holds."""
    found = calibrate(agent(1), agent(2), MatchRules())
    words = shlex.split(" ".join(as_flags(found.proposals)))
    by_key = rules_by_key(found.proposals)
    values = [value for value in words if not value.startswith("--")]
    assert sorted(values) == sorted([*by_key["match-ignore"], *by_key["match-normalise"]])
