"""A run, live or from its report: requests without a recording, and recordings without a request."""

from __future__ import annotations

from typing import Any

from replayproxy.admin.inspector.page import InspectedRun, Page, Visitor

ROWS = 200
"""Entries of a list on one page."""

NO_RUN = (
    "No run is shown here. Misses and unused recordings belong to a run: open the inspector on the admin port of a"
    " replay, or start it with --report FILE, the report that a run has written."
)


async def misses(visitor: Visitor) -> Page:
    """Requests that no recording answered, grouped by cause, each with what differs from the nearest recording."""
    if visitor.run is None:
        return Page("misses.html", {"run": None, "misses": [], "reason": NO_RUN})
    result = await visitor.run.misses()
    documents = [cause.document() for cause in result.causes]
    for document in documents:
        near = document.get("nearest")
        if isinstance(near, dict):
            near["link"] = _link(visitor, near)
    data = {
        "run": _about(visitor.run),
        "served": result.served,
        "requests_without_answer": result.misses + result.damaged,
        "not_listed": result.unexplained,
        "misses": documents,
    }
    return Page("misses.html", data)


async def unused(visitor: Visitor) -> Page:
    """Recordings that no request has used in this run."""
    if visitor.run is None:
        return Page("unused.html", {"run": None, "unused": [], "reason": NO_RUN})
    result = await visitor.run.result()
    first = visitor.query.whole("from", 1, 1)
    shown = [recording.document() for recording in result.unused]
    for document in shown[first - 1 : first - 1 + ROWS]:
        document["link"] = _link(visitor, document)
    data = {
        "run": _about(visitor.run),
        "recordings": result.recordings,
        "served": result.served,
        "damage": result.damage or None,
        "unused": shown,
    }
    return Page("unused.html", data, {"first": first, "rows": shown[first - 1 : first - 1 + ROWS], "per_page": ROWS})


def _about(run: InspectedRun) -> str:
    return "live" if run.is_live else "report"


def _link(visitor: Visitor, recording: dict[str, Any]) -> str | None:
    """The page of a recording, where its cassette is here."""
    name = visitor.library.name_of(str(recording.get("cassette", "")))
    return None if name is None else visitor.link("exchange", cassette=name, id=str(recording.get("id", "")))
