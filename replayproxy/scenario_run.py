"""Run a scenario at a live server: find its model and tokenizer, send the phases, read its counters around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from replayproxy.core.dialects.dialect import objects
from replayproxy.core.dialects.facts import parsed
from replayproxy.core.upstream_fields import with_fields
from replayproxy.drive.changes import RequestChanges
from replayproxy.drive.driver import DriveLimits, Driver
from replayproxy.drive.results import RunSummary
from replayproxy.drive.scenario import RUN, TOKENS_PER_WORD, Phase, ScenarioOptions, phases_of, text_of_words
from replayproxy.drive.scenario_results import CacheHits, PhaseResult, hits_of, phase_result, stalled_by
from replayproxy.errors import SettingsError, UpstreamError
from replayproxy.load_run import LoadRun, Stopping, drive
from replayproxy.model import Headers, Request
from replayproxy.net.clock import SystemClock
from replayproxy.net.waiting import ask

SAMPLE_WORDS = 400
"""Words by which the tokens per word of a server's tokenizer are measured."""

PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class ScenarioRun:
    """A scenario and a server. `options.model` empty: the first that the server lists. `fields`: on each request."""

    options: ScenarioOptions
    upstream: str
    fields: Headers = ()
    output: Path | None = None
    first_byte: float = 600
    stall: float = 300
    grace: float = 10
    bound: int = 100_000_000


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """What a scenario found. `is_estimated`: the server has no `/tokenize`, so lengths of prompts are estimated."""

    model: str
    phases: tuple[PhaseResult, ...]
    summaries: tuple[RunSummary, ...]
    hits: CacheHits | None = None
    stalled: tuple[tuple[str, str], ...] = ()
    is_estimated: bool = False


class _Server:
    """Requests about the server itself, which are not part of the load."""

    def __init__(self, run: ScenarioRun, clock: SystemClock) -> None:
        self._run = run
        self._clock = clock

    async def value(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """The JSON object of an answer; empty where there is none."""
        text = await self.text(method, path, body)
        return parsed(text.encode()) if text is not None else {}

    async def text(self, method: str, path: str, body: Any = None) -> str | None:
        """The text of an answer with status 200; None for others."""
        content = b"" if body is None else orjson.dumps(body)
        headers = with_fields((("Content-Type", "application/json"),), self._run.fields)
        try:
            answer = await ask(
                self._run.upstream, Request(method, path, headers, content), self._clock, patience=PATIENCE
            )
        except UpstreamError:
            return None
        return answer.body.decode("utf-8", "replace") if answer.status == 200 else None

    async def tokens(self, model: str, request: Request) -> list[int]:
        """The token ids of a request's prompt; empty where the server does not say."""
        body = parsed(request.body)
        prompt = {name: body[name] for name in ("messages", "prompt") if name in body}
        found = (await self.value("POST", "/tokenize", {"model": model, **prompt})).get("tokens")
        return found if isinstance(found, list) else []


async def run_scenario(
    run: ScenarioRun, stopping: Stopping, started: Callable[[str, int, Driver], None]
) -> ScenarioResult:
    """Run all phases. `started` gets each phase, how many requests it has, and its driver. Raises `UpstreamError`."""
    clock = SystemClock()
    try:
        server = _Server(run, clock)
        model = run.options.model or await _first_model(server, run.upstream)
        options = replace(run.options, model=model)
        per_word = await _tokens_per_word(server, model)
        phases = phases_of(options, per_word or TOKENS_PER_WORD)
        before = await server.text("GET", "/metrics") if options.name == "prefix-cache" else None
        results, summaries = [], []
        for phase in phases:
            if stopping.first.is_set():
                break
            result, summary = await _carried_out(run, phase, clock, stopping, started)
            results.append(result)
            summaries.append(summary)
        measured = results[-1]
        hits = None
        if options.name == "prefix-cache":
            after = await server.text("GET", "/metrics")
            prompts = [await server.tokens(model, request) for request in phases[-1].requests]
            hits = hits_of(measured.users, before, after, prompts)
        stalled = tuple(stalled_by(measured.users)) if options.name == "chunked-prefill" else ()
        return ScenarioResult(model, tuple(results), tuple(summaries), hits, stalled, per_word is None)
    finally:
        clock.close()


async def _carried_out(
    run: ScenarioRun,
    phase: Phase,
    clock: SystemClock,
    stopping: Stopping,
    started: Callable[[str, int, Driver], None],
) -> tuple[PhaseResult, RunSummary]:
    plan = phase.plan()
    began = clock.today()
    result = await drive(
        LoadRun(
            cassette=None,
            upstream=run.upstream,
            plan=plan,
            changes=RequestChanges(run.options.run),
            requests=phase.requests,
            output=run.output if phase.name == RUN else None,
            limits=DriveLimits(keeps_answers=True),
            fields=run.fields,
            first_byte=run.first_byte,
            stall=run.stall,
            grace=run.grace,
            bound=run.bound,
            notes={"drive": {"scenario": run.options.name, "run": run.options.run}},
        ),
        stopping,
        lambda driver: started(phase.name, len(plan.requests), driver),
    )
    measured = phase_result(phase.name, phase.names, result.requests, result.responses, began)
    return measured, result.summary


async def _first_model(server: _Server, url: str) -> str:
    models = list(objects((await server.value("GET", "/v1/models")).get("data")))
    name = models[0].get("id") if models else None
    if not isinstance(name, str):
        raise SettingsError(f"{url} lists no model: name the one to use with --model-id")
    return name


async def _tokens_per_word(server: _Server, model: str) -> float | None:
    """How many tokens the server's tokenizer makes of a word of our prompts; None where it does not say."""
    text = text_of_words(SAMPLE_WORDS, "sample")
    count = (await server.value("POST", "/tokenize", {"model": model, "prompt": text})).get("count")
    return count / SAMPLE_WORDS if isinstance(count, int) and count > 0 else None


def scenario_codes(result: ScenarioResult, *, checks_quality: bool) -> tuple[int, str]:
    """The exit code of a scenario, and why."""
    for summary in result.summaries:
        code, why = summary.verdict
        if code:
            return code, why
    users: Sequence[Any] = [user for phase in result.phases for user in phase.users]
    bad = [user for user in users if user.quality]
    if checks_quality and bad:
        return 5, f"the text of {len(bad)} of {len(users)} answers is not well: {bad[0].name}: {bad[0].quality[0]}"
    if result.hits is not None and not (result.hits.by_usage or result.hits.by_metrics):
        if result.hits.by_usage is None and result.hits.by_metrics is None:
            return 9, "the server says nothing about its prefix cache: give it --enable-prompt-tokens-details"
        return 5, "no prompt token came from the prefix cache"
    return 0, "every request was answered"
