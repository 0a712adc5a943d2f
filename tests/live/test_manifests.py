"""Kubernetes' own schemas take the manifests in `examples/deploy/`: no field is unknown, none has the wrong type.

It is `live` because kubernetes-validate, 100 MB with the schemas of all versions, comes from a registry.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples.folders import EXAMPLES
from tests.live.registries import site_packages
from tests.processes import environment

VERSIONS = ("1.30", "1.37")
"""An older version of Kubernetes, and the newest of which there are schemas."""

PROGRAM = """
import sys, yaml, kubernetes_validate
for version in sys.argv[2:]:
    for one in yaml.safe_load_all(open(sys.argv[1])):
        kubernetes_validate.validate(one, version, strict=True)
        print(version, one["kind"])
"""


def validated(path: Path) -> subprocess.CompletedProcess[str]:
    """What kubernetes-validate says of a file; strictly: unknown fields are errors."""
    packages = site_packages("kubernetes-validate", Path(__file__).with_name("kubernetes-validate.txt"))
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, path, *VERSIONS],
        env=environment() | {"PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("path", sorted((EXAMPLES / "deploy").glob("*.yaml")), ids=lambda path: path.name)
def test_a_manifest_is_valid(path: Path) -> None:
    """In each of the versions, every object."""
    ran = validated(path)
    assert ran.returncode == 0, ran.stderr
    assert {line.split()[1] for line in ran.stdout.splitlines()} >= {"Deployment", "Service"}
    assert {line.split()[0] for line in ran.stdout.splitlines()} == set(VERSIONS)


def test_a_field_that_kubernetes_does_not_have_is_found(tmp_path: Path) -> None:
    """Or the test above would prove nothing."""
    text = (EXAMPLES / "deploy" / "simulator.yaml").read_text()
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text.replace("containerPort: 8000", "containerPrt: 8000"))
    assert wrong.read_text() != text
    assert "containerPrt" in validated(wrong).stderr
