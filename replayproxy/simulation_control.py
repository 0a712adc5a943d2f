"""Change a simulated server while it runs: its latencies, its failures, its metrics.

    {"latency": {…}, "failures": {…}, "metrics": {…}} ──▶ checked, all of it ──▶ the next token, request and scrape

Names are those of the flags of `simulate`. Nothing is changed where something of it cannot be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from replayproxy.core.faults.choice import FailureInjection, FaultChooser
from replayproxy.core.faults.failure_answers import FAILURE_TYPES
from replayproxy.core.faults.grammar import BadFault, parse_fault
from replayproxy.errors import SettingsError
from replayproxy.setting_kinds import BadValue, Duration
from replayproxy.setting_table import TABLE, Setting
from replayproxy.simulated_server import SimulatedServer
from replayproxy.simulator.latency import Latency

SECTIONS = ("latency", "failures", "metrics")

_FIELD = "simulation.latency."

LATENCIES: Mapping[str, Setting] = {
    row.name.replace("_", "-"): row
    for row in TABLE.values()
    if row.goes_to is not None and row.goes_to.startswith(_FIELD) and row.goes_to != f"{_FIELD}recorded"
}
"""By the name of the flag, without its hyphens."""

FAILURES = ("failure-injection-rate", "failure-types", "fail")


class SimulationControl:
    """Of one simulated server."""

    def __init__(self, simulated: SimulatedServer, chooser: FaultChooser) -> None:
        self._simulated = simulated
        self._chooser = chooser

    def document(self) -> dict[str, Any]:
        """What can be changed, as it is now. Durations in seconds."""
        latency, injection = self._simulated.latency, self._chooser.injection
        return {
            "latency": {name: _shown(row, latency) for name, row in LATENCIES.items()},
            "failures": {
                "failure-injection-rate": injection.percent,
                "failure-types": list(injection.types),
                "fail": [fault.text for fault in self._chooser.faults],
            },
            "metrics": self._simulated.set_values,
        }

    def change(self, changes: Any) -> dict[str, Any]:
        """Change what is given, and return the whole as it then is. Raises `SettingsError`; then nothing is changed."""
        if not isinstance(changes, dict) or not changes:
            raise SettingsError('a change is an object such as {"latency": {"time-to-first-token": "200ms"}}')
        for name, values in changes.items():
            _refuse_unknown(name, SECTIONS, "section")
            if not isinstance(values, dict):
                raise SettingsError(f"{name} is an object of names and values")
        latency = _changed_latency(self._simulated.latency, changes.get("latency", {}))
        failures = changes.get("failures", {})
        injection = _changed_injection(self._chooser.injection, failures)
        faults = self._chooser.faults
        if "fail" in failures:
            try:
                faults = tuple(map(parse_fault, _texts("fail", failures["fail"])))
            except BadFault as error:
                raise SettingsError(f"fail {error}") from None
        if changes.get("metrics"):
            self._simulated.set_metrics(changes["metrics"])  # the last that can raise
        self._simulated.latency = latency
        if failures:
            self._chooser.change(faults, injection)
        return self.document()


def _shown(row: Setting, latency: Latency) -> float:
    value: float = getattr(latency, str(row.goes_to).removeprefix(_FIELD))
    return value / 1e9 if isinstance(row.kind, Duration) else value


def _changed_latency(latency: Latency, values: Mapping[str, Any]) -> Latency:
    fields: dict[str, Any] = {}
    for name, value in values.items():
        _refuse_unknown(name, LATENCIES, "latency")
        row = LATENCIES[name]
        try:
            read = row.kind.read(value)
        except BadValue as error:
            raise SettingsError(f"{name} {error}") from None
        fields[str(row.goes_to).removeprefix(_FIELD)] = round(read * 1e9) if isinstance(row.kind, Duration) else read
    return replace(latency, **fields)


def _changed_injection(injection: FailureInjection, values: Mapping[str, Any]) -> FailureInjection:
    for name in values:
        _refuse_unknown(name, FAILURES, "failure setting")
    percent, types = injection.percent, injection.types
    if "failure-injection-rate" in values:
        try:
            percent = TABLE["failure_injection_rate"].kind.read(values["failure-injection-rate"])
        except BadValue as error:
            raise SettingsError(f"failure-injection-rate {error}") from None
    if "failure-types" in values:
        types = tuple(_texts("failure-types", values["failure-types"]))
        for name in types:
            _refuse_unknown(name, FAILURE_TYPES, "type of failure")
    return FailureInjection(percent, types)


def _texts(name: str, value: Any) -> list[str]:
    """A list of texts; a single one may stand for itself, and an empty one for none."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise SettingsError(f"{name} is a text or a list of texts")
    return [text for text in texts if text]


def _refuse_unknown(name: str, expected: Mapping[str, Any] | tuple[str, ...], what: str) -> None:
    if name in expected:
        return
    close = get_close_matches(name, expected, 1)
    hint = f"did you mean {close[0]}?" if close else f"choose from {', '.join(expected)}"
    raise SettingsError(f"{name!r} is not a {what}: {hint}")
