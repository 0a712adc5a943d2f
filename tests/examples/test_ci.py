"""The workflows in `examples/ci/` do what they are for: their own steps are run, in order, against a cassette.

A runner is what they are told it is: a shell that stops at the first step that fails. What is not ours is played by
stand-ins on the PATH: `python` installs nothing, and `npm test` or `make check` is the script of examples/shell.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import orjson
import pytest
import yaml

from tests.examples.folders import EXAMPLES, commands, copied, ours, shell, understood

FILES = ["github-actions.yml", "gitlab-ci.yml"]


class Job(NamedTuple):
    """What of a workflow's job is for a shell, and what is kept of it afterwards."""

    steps: list[str]
    kept: list[str]
    junit: str | None


def job(name: str) -> Job:
    """The one job of a file, in the dialect of its house."""
    told: Any = yaml.safe_load((EXAMPLES / "ci" / name).read_text())
    if name == "github-actions.yml":
        (only,) = told["jobs"].values()
        steps = only["steps"]
        (upload,) = (step for step in steps if step.get("uses", "").startswith("actions/upload-artifact@"))
        assert upload["if"] == "${{ !cancelled() }}", "what failed is what people want to look at"
        return Job([step["run"] for step in steps if "run" in step], upload["with"]["path"].split(), None)
    only = told["test"]
    kept = only["artifacts"]
    assert kept["when"] == "always", "what failed is what people want to look at"
    return Job(only["before_script"] + only["script"], kept["paths"], kept["reports"]["junit"])


STAND_INS = {
    "python": '[ "$*" = "-m pip install $SOURCE" ]',
    "npm": '[ "$1" = ci ] || exec ./ask story.json joke.json',
    "make": "exec ./ask story.json joke.json",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The example of the shell, as a repository with its cassette in tests/."""
    folder = copied("shell", tmp_path)
    (folder / "tests").mkdir()
    (folder / "chat.cassette").rename(folder / "tests" / "chat.cassette")
    for name, does in STAND_INS.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{does}\n")
        path.chmod(0o755)
    return folder


def runner(folder: Path, steps: list[str], **variables: str) -> Iterator[subprocess.CompletedProcess[str]]:
    """Each step in turn, up to the first that fails."""
    for step in steps:
        ran = shell(step, folder, folder.parent / "bin", SOURCE="replayproxy", CI="true", **variables)
        yield ran
        if ran.returncode:
            return


def suites(junit: Path) -> ElementTree.Element:
    """The root of a JUnit file."""
    return ElementTree.fromstring(junit.read_bytes())  # noqa: S314  it is ours


@pytest.mark.parametrize("name", FILES)
def test_a_job_passes(folder: Path, name: str) -> None:
    """Every step; and what it says it keeps is there."""
    job_ = job(name)
    ran = list(runner(folder, job_.steps))
    assert [(step.args[-1], step.returncode, step.stderr) for step in ran if step.returncode] == []
    assert len(ran) == len(job_.steps)
    assert "2 answers from recordings, no misses" in ran[-1].stderr
    assert "no secret found" in ran[-2].stdout
    report, junit = (folder / kept for kept in job_.kept)
    assert orjson.loads(report.read_bytes())["served"] == 2
    assert suites(junit).get("failures") == "0"
    assert job_.junit in (None, junit.name)


def test_a_job_fails_where_the_code_has_changed(folder: Path) -> None:
    """With the code of the suite; report, JUnit, annotations and summary name what differs."""
    job_ = job("github-actions.yml")
    story = folder / "story.json"
    story.write_text(story.read_text().replace("story", "lie"))
    summary = folder / "summary.md"
    *_, last = runner(folder, job_.steps, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    assert last.returncode == 22
    report, junit = (folder / kept for kept in job_.kept)
    (miss,) = orjson.loads(report.read_bytes())["misses"]
    assert miss["code"] == "no_match"
    assert "no_match" in {failure.get("type") for failure in suites(junit).iter("failure")}
    assert "::error title=replayproxy" in last.stderr
    assert "no\\_match" in summary.read_text()


@pytest.mark.parametrize("name", [*FILES, "README.md"])
def test_every_command_of_ours_is_understood(name: str) -> None:
    """Also those that are not run here."""
    scripts = commands("ci") if name == "README.md" else job(name).steps
    for words in chain.from_iterable(ours(script) for script in scripts):
        understood(words)
