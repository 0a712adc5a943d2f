"""The values of metrics as the text that Prometheus scrapes, under the names of one generation of vLLM.

Does not know where the values come from: the engine, `--fake-metrics` or `/set_metrics`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from replayproxy.simulator.metric_table import CURRENT, EXTRA, GAUGE, HISTOGRAM, TABLE, MetricRow
from replayproxy.simulator.metrics import Histogram, Labels, Series

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"
"""As vLLM 0.32 sends it."""


@dataclass(frozen=True, slots=True, eq=False)
class MetricsPage(Collector):
    """One scrape. `engine` is the rank among data-parallel ones."""

    series: Series
    model: str
    generation: str = CURRENT
    engine: int = 0

    def text(self) -> bytes:
        """The page."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """The metrics that have values, in the order of the table."""
        for row in (*TABLE, *EXTRA.values()):
            is_shown = self.generation in row.generations or row.name in self.series.shown
            if is_shown and self.series.samples.get(row.name):
                yield self._family(row)

    def describe(self) -> list[Metric]:
        """Nothing: the registry is asked once."""
        return []

    def _family(self, row: MetricRow) -> Metric:
        name, samples = f"vllm:{row.name}", self.series.samples[row.name]
        names = [*self._own(row), *(label for label, _ in (samples[0][0] if samples else ()))]
        if row.kind == HISTOGRAM:
            histogram = HistogramMetricFamily(name, row.meaning, labels=names)
            for labels, value in samples:
                assert isinstance(value, Histogram), f"{row.name} is a histogram"
                values = self._values(row, labels)
                histogram.add_metric(values, _buckets(value), value.total)
                histogram.add_sample(f"{name}_created", dict(zip(names, values, strict=True)), self.series.created)
            return histogram
        family = (GaugeMetricFamily if row.kind == GAUGE else CounterMetricFamily)(name, row.meaning, labels=names)
        for labels, value in samples:
            assert not isinstance(value, Histogram), f"{row.name} is no histogram"
            if isinstance(family, CounterMetricFamily):
                family.add_metric(self._values(row, labels), value, created=self.series.created)
            else:
                family.add_metric(self._values(row, labels), value)
        return family

    def _own(self, row: MetricRow) -> list[str]:
        return ["model_name", "engine"][: 0 if row.bare else 1 if row.without_engine else 2]

    def _values(self, row: MetricRow, labels: Labels) -> list[str]:
        own = [self.model, str(self.engine)][: len(self._own(row))]
        return [*own, *(value for _, value in labels)]


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Cumulative counts, as the format has them."""
    total, buckets = 0, []
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
