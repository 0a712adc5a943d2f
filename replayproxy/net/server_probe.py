"""Ask a live server about itself when recording starts. Sends no client's credentials, and takes no for an answer.

GET /v1/models · GET /version · HEAD /health ──▶ entries for the cassette's meta table
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import aiohttp  # noqa: F401  `ask` would import it within the first question's patience
import orjson

from replayproxy.core.redaction import Redactor
from replayproxy.core.redaction.credentials import NONE
from replayproxy.core.server_facts import LONGEST, PROBE_REQUESTS, listed
from replayproxy.core.upstream_fields import with_fields
from replayproxy.errors import ReplayProxyError
from replayproxy.model import Headers, Request, Response
from replayproxy.net.waiting import ask
from replayproxy.ports import Clock

PATIENCE = 5.0
"""Seconds for all three answers: so much later the recorder is ready at most."""


async def server_entries(url: str, clock: Clock, redactor: Redactor, fields: Headers = ()) -> dict[str, object]:
    """What the server at `url` answers, as meta entries without secrets; none for what it does not answer.

    `fields` are set on each request.
    """
    models, version, health = await asyncio.gather(
        *(
            _answer(url, replace(request, headers=with_fields(request.headers, fields)), clock)
            for request in PROBE_REQUESTS
        )
    )
    entries: dict[str, object] = {}
    if (value := _json(version, redactor)) is not None:
        entries["server_version"] = value
    if listed(value := _json(models, redactor)):
        entries["server_models"] = value
    if health is not None:
        entries["server_head"] = health.status
    return entries


async def _answer(url: str, request: Request, clock: Clock) -> Response | None:
    try:
        async with asyncio.timeout(PATIENCE):
            return await ask(url, request, clock, patience=PATIENCE)
    except (ReplayProxyError, TimeoutError):  # a server that does not tell is recorded all the same
        return None


def _json(answer: Response | None, redactor: Redactor) -> object:
    """The JSON object of an answer that says 200; else None."""
    if answer is None or answer.status != 200 or len(answer.body) > LONGEST:
        return None
    try:
        value = orjson.loads(redactor.response(answer, NONE).body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
