"""The Grafana dashboard and the Prometheus alerts of `examples/deploy/` ask for what a real `/metrics` has.

Each query is parsed as PromQL. Each selector in it must find a series of a recorder or a replay that has had traffic,
with the labels that the query compares or sums by.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from replayproxy.core.policy import Mode
from replayproxy.model import Request
from replayproxy.settings import Settings
from tests import recordings, wire
from tests.apps import recording, replaying, run, running
from tests.doubles.upstreams import Send, answer, scripted
from tests.examples.folders import EXAMPLES

DEPLOY = EXAMPLES / "deploy"

OF_PROMETHEUS = {"instance", "job"}
"""Labels that a scrape adds."""


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    loaded = orjson.loads((DEPLOY / "grafana" / "dashboard.json").read_bytes())
    assert isinstance(loaded, dict)
    return loaded


def alerts() -> list[dict[str, Any]]:
    """The rules."""
    (group,) = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"]
    return list(group["rules"])


def queries() -> dict[str, str]:
    """Every query by where it stands, with the variables of Grafana filled in."""
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard()["panels"]
        for target in panel["targets"]
    }
    found = {
        name: text.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$model", ".*")
        for name, text in found.items()
    }
    return {**found, **{rule["alert"]: rule["expr"] for rule in alerts()}}


@cache
def scraped() -> dict[str, set[str]]:
    """The labels of each sample that a recorder, and a replay of its cassette, have after some traffic."""

    async def traffic(folder: Path) -> list[str]:
        texts = []
        simulating = Settings(Mode.SIMULATE)
        async with running(simulating) as server:
            async with running(recording(folder / "a.cassette", server.url), admin=True) as proxy:
                await wire.ask(proxy.url, recordings.asked("a", model=simulating.simulation.model, stream=True))
                texts.append(await metrics(str(proxy.admin_url)))
        async with running(replaying(folder / "a.cassette"), admin=True) as proxy:
            await wire.ask(proxy.url, recordings.asked("never recorded"))
            texts.append(await metrics(str(proxy.admin_url)))
        return texts

    async def metrics(url: str) -> str:
        return (await wire.ask(url, Request("GET", "/metrics"))).body.decode()

    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        texts = run(traffic(Path(folder)))
    found: dict[str, set[str]] = {"up": set()}
    for text in texts:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


def selectors(text: str) -> Iterator[tuple[str, set[str]]]:
    """The metrics that a query selects, each with the labels that it compares."""
    for name, labels in re.findall(r"\b((?:replayproxy|process)_\w+|up\b)(?:\{([^}]*)\})?", text):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels))


def grouped(text: str) -> set[str]:
    """The labels by which a query sums."""
    return {label.strip() for labels in re.findall(r"\bby \(([^)]*)\)", text) for label in labels.split(",")}


@pytest.mark.parametrize("name", queries())
def test_a_query_finds_what_metrics_have(name: str) -> None:
    """It is PromQL; its metrics exist, with its labels."""
    text = queries()[name]
    assert promql_parser.parse(text) is not None
    found = dict(selectors(text))
    assert found
    there = scraped()
    assert set(found) - set(there) == set()
    for metric, labels in found.items():
        assert labels - OF_PROMETHEUS - there[metric] == set(), metric
    assert grouped(text) - OF_PROMETHEUS - set().union(*(there[metric] for metric in found)) == set()


def test_every_panel_has_a_place_of_its_own() -> None:
    """No two overlap, none sticks out of the 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {(x + place["x"], y + place["y"]) for x in range(place["w"]) for y in range(place["h"])}
        assert not taken & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_an_alert_says_what_is_wrong_and_how_bad_it_is() -> None:
    """Labels in its text are among those of its query."""
    for rule in alerts():
        assert rule["labels"]["severity"] in ("warning", "critical")
        used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert used <= grouped(rule["expr"]) | OF_PROMETHEUS, rule["alert"]


def test_prometheus_loads_the_alerts_beside_it() -> None:
    """And calls the job as the queries do."""
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert config["rule_files"] == ["alerts.yaml"]
    assert "replayproxy" in {job["job_name"] for job in config["scrape_configs"]}


def test_an_answer_of_a_server_is_in_the_metrics(tmp_path: Path) -> None:
    """By outcome, endpoint, model and status, with its bytes; a server that is not there by its cause."""
    body = b'{"model":"tiny","choices":[]}'

    async def ask() -> str:
        async with scripted(Send(answer("200 OK", body))) as server:
            async with running(recording(tmp_path / "a.cassette", server.url), admin=True) as proxy:
                await wire.ask(proxy.url, recordings.asked("a"))
                assert proxy.admin_url is not None
                return (await wire.ask(proxy.admin_url, Request("GET", "/metrics"))).body.decode()

    lines = run(ask()).splitlines()
    labels = 'endpoint="/v1/chat/completions",model="tiny",outcome="recorded",status="200"'
    assert f"replayproxy_answers_total{{{labels}}} 1.0" in lines
    assert f"replayproxy_response_bytes_total {float(len(body))}" in lines
    assert any(line.startswith("replayproxy_disk_free_bytes ") for line in lines)
