"""`/metrics`, and what changes it: `/set_metrics` of AIBrix, `/fake_metrics` of llm-d-inference-sim.

measured ──▶ values that were set ──▶ page            given ones, if there are any ──▶ page
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from replayproxy.model import Response
from replayproxy.ports import Clock
from replayproxy.simulator.engine_metrics import EngineMetrics
from replayproxy.simulator.fake_metrics import BadFakeMetrics, FakeMetrics
from replayproxy.simulator.metric_overrides import BadOverride, MetricOverrides
from replayproxy.simulator.metrics_page import CONTENT_TYPE, MetricsPage
from replayproxy.simulator.routes import ApiError, Call, Routes, json_response, whole_response
from replayproxy.simulator.state_options import StateOptions

_SECOND = 1e9


class ServedMetrics:
    """The values that a scrape gets."""

    def __init__(
        self, measured: EngineMetrics, options: StateOptions, clock: Clock, *, model: str, longest: int
    ) -> None:
        """`longest` is the longest context, in tokens."""
        self.overrides = MetricOverrides(options.replicas)
        if options.metrics_overrides:
            self.overrides.update(options.metrics_overrides)
        self._measured = measured
        self._options = options
        self._clock = clock
        self._model = model
        self._longest = longest
        self._given: Mapping[str, Any] | None = None
        self._fake: FakeMetrics | None = None
        self._fake_since = 0
        self._began = clock.today() / _SECOND
        if options.fake_metrics is not None:
            self.give(options.fake_metrics)

    def give(self, given: Any) -> None:
        """Add to the given values, whose functions of time then begin. Raises `BadFakeMetrics`."""
        if not isinstance(given, Mapping):
            FakeMetrics.read(given, self._longest)  # raises
        joined = {**(self._given or {}), **given}
        self._fake = FakeMetrics.read(joined, self._longest)
        self._given = joined
        self._fake_since = self._clock.now()

    @property
    def set_values(self) -> dict[str, Any]:
        """What has been set over the measured values, or given instead of them."""
        if self._given is not None:
            return dict(self._given)
        overrides = self.overrides
        named = {"model_name": overrides.model, "replicas": overrides.replicas}
        return {**overrides.values, **{name: value for name, value in named.items() if value is not None}}

    def set_metrics(self, values: Mapping[str, Any]) -> None:
        """Set values, of a page of given ones the given ones. Raises `BadOverride`, `BadFakeMetrics`."""
        if self._fake is not None:
            self.give(values)
        else:
            self.overrides.update(values)

    def text(self) -> bytes:
        """The page."""
        if self._fake is not None:
            elapsed = self._clock.now() - self._fake_since
            step = max(1, round(self._options.fake_metrics_refresh_interval * _SECOND))
            series = self._fake.series(
                (elapsed - elapsed % step) / _SECOND,
                max_model_len=self._longest,
                max_loras=self._options.max_loras,
                created=self._began,
            )
        else:
            series = self._measured.metrics.series(self._measured.state())
            self.overrides.apply(series)
        model = self.overrides.model or self._model
        return MetricsPage(series, model, self._options.metrics_of, self._options.rank).text()

    def register(self, routes: Routes) -> None:
        """Add the endpoints."""

        def metrics(_: Call) -> Response:
            return whole_response(self.text(), headers=(("content-type", CONTENT_TYPE),))

        def set_metrics(call: Call) -> Response:
            try:
                self.overrides.update(call.body)
            except BadOverride as error:
                document = {"status": "error", "message": str(error)}
                raise ApiError(400, str(error), document=document) from error
            return json_response({"status": "success", "message": "Overrides updated"})

        def fake_metrics(call: Call) -> Response:
            if self._fake is None:
                raise ApiError(
                    400, "The simulator reports measured metrics: start it with --fake-metrics to give other ones."
                )
            try:
                self.give(call.body)
            except BadFakeMetrics as error:
                raise ApiError(500, f"Failed to update fake metrics: {error}") from error
            return Response(204, (), b"", (), whole_response(b"").timeline)

        def load(_: Call) -> Response:
            state = self._measured.state()
            given = self.overrides.server_load
            return json_response({"server_load": state.running + state.waiting if given is None else given})

        routes.add("GET", "/metrics", metrics)
        routes.add("POST", "/set_metrics", set_metrics)
        routes.add("POST", "/fake_metrics", fake_metrics)
        routes.add("GET", "/load", load)
