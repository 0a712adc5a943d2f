"""`info`: what a cassette is and holds, without unpacking anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from replayproxy.cassette.cassette import Cassette
from replayproxy.cassette.keeper import left_out
from replayproxy.cli.printing.screen import Screen, Span
from replayproxy.cli.printing.table import Column, layout
from replayproxy.core.server_facts import ServerFacts
from replayproxy.views import starvation
from replayproxy.views.units import count, moment, plural, share, size


def inventory(cassette: Cassette) -> dict[str, Any]:
    """Everything, as data: bytes, counts, times in UTC."""
    first, last = cassette.one(
        "SELECT CAST(min(recorded_at) AS INTEGER), CAST(max(recorded_at) AS INTEGER) FROM exchange"
    )
    wal = Path(f"{cassette.path}-wal")
    rules, redactor = cassette.rules, cassette.redactor
    meta = dict(
        cassette.all("SELECT name, value FROM meta WHERE name NOT IN ('match', 'redaction') ORDER BY name")
    )  # values are JSON
    return {
        "cassette": str(cassette.path),
        "format": cassette.one("PRAGMA user_version")[0],
        "creator": meta.pop("creator", "").strip('"') or None,
        "sealed": not wal.exists(),
        "match": {
            "profile": rules.profile,
            "ignore": list(rules.paths()),
            "normalise": list(rules.normalise),
            "headers": list(rules.headers),
            "defaults": rules.defaults,
        },
        "redaction": None if redactor is None else {"rules": list(redactor.rules)},  # the salt is nobody's business
        "meta": meta,
        "exchanges": cassette.one("SELECT count(*) FROM exchange")[0],
        "first_recorded_at": _iso(first),
        "last_recorded_at": _iso(last),
        "endings": _counts(cassette, "CASE state WHEN 'open' THEN 'in flight' ELSE ending END"),
        "statuses": _counts(cassette, "status", "status > 0"),
        "models": _counts(cassette, "model", "model IS NOT NULL"),
        "endpoints": _counts(cassette, "method || ' ' || path"),
        "opaque": cassette.one("SELECT count(*) FROM v_exchange WHERE opaque = 1")[0],
        "bytes": _bytes(cassette, cassette.path.stat().st_size + (wal.stat().st_size if wal.exists() else 0)),
        "dictionaries": [
            {"id": number, "kind": kind, "bytes": length}
            for number, kind, length in cassette.all("SELECT id, kind, length(content) FROM dictionary ORDER BY id")
        ],
        "starved": _starved(cassette),
        "dropped": dict(
            cassette.all("SELECT CAST(reason AS TEXT), sum(exchanges) FROM dropped GROUP BY reason ORDER BY 2 DESC, 1")
        ),
        "foreign": [{"kind": kind, "name": name} for kind, name in cassette.foreign],
    }


def _iso(ns: int | None) -> str | None:
    return None if ns is None else moment(ns).replace(" ", "T") + "Z"


def _counts(cassette: Cassette, what: str, where: str = "1") -> dict[str, int]:
    rows = cassette.all(f"SELECT {what}, count(*) FROM v_exchange WHERE {where} GROUP BY 1 ORDER BY 2 DESC, 1")  # noqa: S608  all of it is ours
    return {str(name): times for name, times in rows}


def _starved(cassette: Cassette) -> dict[str, float]:
    """How many answers have gaps that a late recorder has spoilt, and by how much at most."""
    answers, longest = cassette.one(
        f"SELECT count(*), coalesce(max(starved_s), 0.0) FROM v_exchange WHERE {starvation.CONDITION}"  # noqa: S608  ours
    )
    return {"answers": answers, "longest_s": longest}


def _bytes(cassette: Cassette, file: int) -> dict[str, int]:
    """What was recorded, and what it takes. The parts of the file add up to it."""
    requests, answers = cassette.one(
        "SELECT coalesce(sum(request_size), 0), coalesce(sum(response_size), 0) FROM exchange"
    )
    sums = {
        "requests": "SELECT sum(length(request)) FROM payload",
        "answers": "SELECT sum(length(answer)) FROM answer",
        "times": "SELECT sum(length(times)) FROM payload",
        "legs": "SELECT sum(length(request) + length(answer) + length(times)) FROM leg",
    }
    parts = {name: int(cassette.one(sql)[0] or 0) for name, sql in sums.items()}
    parts["in_flight"] = cassette.one("SELECT coalesce(sum(length(heard)), 0) FROM segment")[0]
    parts["dictionaries"] = cassette.one("SELECT coalesce(sum(length(content)), 0) FROM dictionary")[0]
    parts["rows_and_free_space"] = max(0, file - sum(parts.values()))
    return {"request_bodies": requests, "response_bodies": answers, "file": file, **parts}


# For people

_PARTS = {
    "requests": "requests",
    "answers": "answers",
    "times": "times",
    "legs": "prefill/decode legs",
    "in_flight": "streams in flight",
    "dictionaries": "dictionaries",
    "rows_and_free_space": "rows, indexes, free space",
}

_SIZES = [
    Column("  IN THE FILE", lambda row: "  " + row["part"], left=True),
    Column("SIZE", lambda row: size(row["bytes"])),
    Column("OF RAW", lambda row: share(row["bytes"], row["raw"]) if row["bytes"] < row["raw"] else ""),
]


def page(known: Mapping[str, Any], screen: Screen) -> None:
    """The whole page."""
    screen.line(Span(known["cassette"], "bold"))
    state = "sealed" if known["sealed"] else "being recorded, or its recorder was killed"
    made = f"cassette format {known['format']}, by {known['creator'] or 'an unknown recorder'}, "
    screen.entry("format", made, Span(state, "" if known["sealed"] else "yellow"))
    for head, text, style in _facts(known):
        screen.entry(head, Span(text, style))
    sizes = known["bytes"]
    raw = sizes["request_bodies"] + sizes["response_bodies"]
    bodies = f"bodies {size(raw)}: requests {size(sizes['request_bodies'])}, answers {size(sizes['response_bodies'])}"
    of_raw = f", {share(sizes['file'], raw)}" if sizes["file"] < raw else ""
    screen.entry("sizes", f"{bodies}   ->   file {size(sizes['file'])}{of_raw}")
    rows = [{"part": name, "bytes": sizes[part], "raw": raw} for part, name in _PARTS.items() if sizes[part]]
    measured = layout(_SIZES, rows)
    screen.lines([measured.heading(), *map(measured.row, rows)])


def _facts(known: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    rules = known["match"]
    yield "match", f"{rules['profile']}   ignores {' '.join(rules['ignore']) or 'nothing'}", ""
    for what, names in (
        ("normalise", rules["normalise"]),
        ("headers", rules["headers"]),
        ("defaults", ["are as good as no field"] if rules["defaults"] else []),
    ):
        if names:
            yield what, " ".join(names), ""
    if known["redaction"] is None:
        yield "redaction", "none: recorded before secrets were masked", "yellow"
    else:
        yield "redaction", "   ".join(("credentials, known keys", *known["redaction"]["rules"])), ""
    yield from _about_cassette(known["meta"])
    when = ""
    if known["first_recorded_at"]:
        first, last = (known[name].replace("T", " ") for name in ("first_recorded_at", "last_recorded_at"))
        when = f", {first} to {last}"
    yield "recorded", plural(known["exchanges"], "exchange") + when, ""
    for head in ("endings", "statuses", "models", "endpoints"):
        if known[head]:
            yield head, _several(known[head]), ""
    if known["starved"]["answers"]:
        said = f"{plural(known['starved']['answers'], 'answer')}: {starvation.sentence(known['starved']['longest_s'])}"
        yield "starved", said, "yellow"
    if known["opaque"]:
        yield (
            "opaque",
            f"{plural(known['opaque'], 'exchange')} with a body in a coding that cannot be looked into",
            "yellow",
        )
    if known["dropped"]:
        yield "dropped", _several(known["dropped"]), "bold red"
    if known["foreign"]:
        yield "not ours", ", ".join(f"{one['kind']} {one['name']}" for one in known["foreign"]), "yellow"
    if known["dictionaries"]:
        kinds = (f"{one['kind']} #{one['id']} {size(one['bytes'])}" for one in known["dictionaries"])
        yield "trained", ", ".join(kinds), ""


def _value(text: object) -> object:
    """What a meta entry says; a damaged one says its own text."""
    try:
        return orjson.loads(str(text))
    except orjson.JSONDecodeError:
        return text


def _about_cassette(meta: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    values = {name: _value(text) for name, text in meta.items()}
    yield from _about_server(ServerFacts.of_meta(values))
    for name, value in meta.items():
        if name == "left_out":
            yield "left out", f"fields of answers: {_several(left_out(values[name]))}", ""
        elif not name.startswith("server_"):
            yield name, str(value), ""


def _about_server(facts: ServerFacts) -> Iterator[tuple[str, str, str]]:
    version = (facts.version or {}).get("version")
    known = [f"version {version}"] if isinstance(version, str) else []
    known += [f"serves {', '.join(sorted(facts.names))}"] if facts.names else []
    if known:
        yield "server", ", ".join(known), ""


def _several(counts: Mapping[str, int], most: int = 8) -> str:
    shown = [f"{name} {count(number)}" for name, number in list(counts.items())[:most]]
    return ", ".join(shown) + (f", and {len(counts) - most} more: --json" if len(counts) > most else "")


def flat(known: Mapping[str, Any], before: str = "") -> Iterator[dict[str, Any]]:
    """The same as rows of name and value, for CSV."""
    for name, value in known.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{name}.")
        elif isinstance(value, list):
            for place, part in enumerate(value):
                yield from flat({str(place): part}, f"{before}{name}.")
        else:
            yield {"name": f"{before}{name}", "value": value}
