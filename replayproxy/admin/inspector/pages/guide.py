"""Help: the keys, the filters, what the numbers mean."""

from __future__ import annotations

from replayproxy.admin.inspector.page import Page, Visitor
from replayproxy.views.statistics import EXPLAINED

KEYS = {
    "j, k": "the next or the previous row",
    "Enter": "open the chosen row",
    "x": "choose a row for a comparison",
    "/": "go to the filters",
    "n, p": "the next or the previous page of a list",
    "l": "live: follow what is being recorded",
    "o, e, s, c, m, u": "overview, exchanges, statistics, compare, misses, unused",
    "?": "this help",
}

FILTERS = {
    "model": "the model that the request names",
    "endpoint": "a path, or a method and a path: POST /v1/chat/completions",
    "status": "a number, or 2xx, 4xx, 5xx, errors",
    "ending": "complete, upstream_cut, client_left, timeout, proxy_stopped, proxy_crashed, open",
    "scope": "the scope of a request",
    "ttft, total": "at least so long: 0.5 (seconds) or 500ms",
    "since, until": "wall time in UTC: 2026-11-18T09:14",
    "where": "an SQL condition on the view v_exchange, as in ls --where: prompt_tokens > 1000",
}


async def page(visitor: Visitor) -> Page:  # noqa: ARG001  # as every page
    """The help."""
    return Page("help.html", {"keys": KEYS, "filters": FILTERS, "definitions": EXPLAINED})
