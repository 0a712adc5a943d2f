"""The manifests in `examples/deploy/` start a `simulate` that answers their probes, on the port that they name.

That Kubernetes takes them is tested in `tests/live/test_manifests.py`, with its own schemas.
"""

from __future__ import annotations

import re
from typing import Any

import click
import pytest
import yaml

from replayproxy.cli.main import replayproxy, verb_named
from tests.doubles.simulated_state import server
from tests.examples.folders import EXAMPLES

FILES = sorted(path.name for path in (EXAMPLES / "deploy").glob("*.yaml"))


def objects(name: str) -> dict[str, Any]:
    """The objects of a file by their kind."""
    return {one["kind"]: one for one in yaml.safe_load_all((EXAMPLES / "deploy" / name).read_text())}


def container(name: str) -> dict[str, Any]:
    """The one container of the deployment."""
    (only,) = objects(name)["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


def options(name: str) -> dict[str, Any]:
    """What `simulate` makes of its arguments."""
    words = [re.sub(r"\$\((\w+)\)", r"value-of-\1", word) for word in container(name)["args"]]
    context = verb_named("simulate").make_context("simulate", words, parent=click.Context(replayproxy))
    return context.params


def test_there_is_one_for_each_simulator() -> None:
    """Of the two whose place is taken."""
    assert FILES == ["aibrix-mock.yaml", "simulator.yaml"]


@pytest.mark.parametrize("name", FILES)
def test_the_arguments_are_understood(name: str) -> None:
    """By `simulate`; it listens for other pods, on the port of the container and of the service."""
    found, (port,) = options(name), container(name)["ports"]
    assert (found["host"], found["port"]) == ("0.0.0.0", port["containerPort"])  # noqa: S104  within a pod
    (served,) = objects(name)["Service"]["spec"]["ports"]
    assert (served["targetPort"], served["port"]) == (port["name"], port["containerPort"])


@pytest.mark.parametrize("name", FILES)
def test_the_probes_are_answered(name: str) -> None:
    """And the path that Prometheus scrapes."""
    probes = [value["httpGet"]["path"] for key, value in container(name).items() if key.endswith("Probe")]
    assert len(probes) >= 2
    one = server()
    assert {path: one.get(path).status for path in (*probes, "/metrics")} == dict.fromkeys((*probes, "/metrics"), 200)


@pytest.mark.parametrize("name", FILES)
def test_the_service_and_the_deployment_choose_its_pods(name: str) -> None:
    """By labels that they have."""
    deployment, service = (objects(name)[kind] for kind in ("Deployment", "Service"))
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels
    assert service["spec"]["selector"].items() <= labels


@pytest.mark.parametrize("name", FILES)
def test_a_container_may_do_nothing_but_serve(name: str) -> None:
    """No root, no writing, no new privileges; the user is the one of the image."""
    assert container(name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    user = objects(name)["Deployment"]["spec"]["template"]["spec"]["securityContext"]["runAsUser"]
    assert f"USER {user}:{user}" in (EXAMPLES / "deploy" / "Dockerfile").read_text()


def test_what_the_manifests_are_for() -> None:
    """Adapters and a cache for the one, a key and shared totals for the other."""
    simulator, mock = options("simulator.yaml"), options("aibrix-mock.yaml")
    assert [module["name"] for module in simulator["lora_modules"]] == ["food-review-0", "food-review-1"]
    assert (simulator["served_model_name"], simulator["enable_kvcache"]) == (("llama3", "base_model"), True)
    assert (mock["model"], mock["api_key"], mock["replicas"]) == ("llama2-7b", ("value-of-API_KEY",), 3)
