"""What a cassette is and holds, as the data of `info`: bytes, counts, times in UTC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from replayproxy.views.port import CassetteSummary
from replayproxy.views.units import moment


def as_data(summary: CassetteSummary) -> dict[str, Any]:
    """Everything as one JSON object. The salt of the redaction is left out."""
    rules, meta = summary.rules, dict(summary.meta)
    return {
        "cassette": str(summary.path),
        "format": summary.format,
        "creator": creator(summary),
        "sealed": summary.is_sealed,
        "match": {
            "profile": rules.profile,
            "ignore": list(rules.paths()),
            "normalise": list(rules.normalise),
            "headers": list(rules.headers),
            "defaults": rules.defaults,
        },
        "redaction": None if summary.redaction_rules is None else {"rules": list(summary.redaction_rules)},
        "meta": {name: text for name, text in meta.items() if name != "creator"},
        "exchanges": summary.exchanges,
        "first_recorded_at": iso_time(summary.first_recorded_at),
        "last_recorded_at": iso_time(summary.last_recorded_at),
        "endings": summary.endings,
        "statuses": summary.statuses,
        "models": summary.models,
        "endpoints": summary.endpoints,
        "opaque": summary.opaque,
        "stream_ends": {**asdict(summary.stream_ends), "missing": dict(summary.stream_ends.missing)},
        "bytes": asdict(summary.sizes),
        "dictionaries": [asdict(dictionary) for dictionary in summary.dictionaries],
        "starved": {"answers": summary.starved_answers, "longest_s": summary.longest_starved_s},
        "dropped": summary.dropped,
        "server_state": dict(summary.server_state),
        "foreign": [{"kind": kind, "name": name} for kind, name in summary.foreign],
    }


def creator(summary: CassetteSummary) -> str | None:
    """The program that recorded the cassette, and its version."""
    return summary.meta.get("creator", "").strip('"') or None


def iso_time(ns: int | None) -> str | None:
    """Wall time in ns since the Unix epoch as `2026-11-18T09:14:03.118Z`."""
    return None if ns is None else moment(ns).replace(" ", "T") + "Z"


def flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[dict[str, Any]]:
    """The same as rows of name and value, for CSV: `match.ignore.0`."""
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            for place, part in enumerate(value):
                yield from flat({str(place): part}, f"{prefix}{name}.")
        else:
            yield {"name": f"{prefix}{name}", "value": value}
