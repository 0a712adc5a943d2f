"""`calibrate`: a program is run twice, or two recordings or the misses of a run are compared; its third run replays."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cli.tapes import Ran, Read, chat, writing
from tests.processes import Proxy, replayproxy, running

AGENT = """
import json, os, tempfile, urllib.request, uuid
folder = tempfile.mkdtemp(prefix="agent-")
year, month, day = (uuid.uuid4().int % count + 10 for count in (89, 3, 19))  # hardly ever one of the run before
day = f"20{year}-{month}-{day}"
system = f"You are an agent. Today is {day}. Session: {uuid.uuid4()}. Work in {folder}/src."
messages = [{"role": "system", "content": system}, {"role": "user", "content": "Sum the numbers of data.csv"}]
for turn in range(3):
    body = json.dumps({"model": "tiny", "messages": messages, "max_tokens": 4}).encode()
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    text = json.load(urllib.request.urlopen(asked))["choices"][0]["message"]["content"]
    call = "call_" + uuid.uuid4().hex[:24]
    function = {"name": "read", "arguments": json.dumps({"path": f"{folder}/src/f{turn}.csv"})}
    tool = {"id": call, "type": "function", "function": function}
    messages.append({"role": "assistant", "content": text, "tool_calls": [tool]})
    messages.append({"role": "tool", "tool_call_id": call, "content": f"{folder}/src/f{turn}.csv is empty"})
os.rmdir(folder)
"""
COMMAND = ("--", sys.executable, "-c", AGENT)


@pytest.fixture
def server() -> Iterator[Proxy]:
    """A server whose answers depend on the prompt, so that they differ from run to run."""
    with running("simulate", "--model", "tiny", "--port", "0") as proxy:
        yield proxy


def run(*arguments: str | Path) -> Ran:
    """A verb in a process of its own: it starts others."""
    done = replayproxy(*arguments, timeout=120)
    return Ran(done.returncode, done.stdout, done.stderr)


def test_the_third_run_of_an_agent_replays(server: Proxy, tmp_path: Path) -> None:
    """With the rules that were written; without them it misses, and its misses say the same rules."""
    cassette, config, report = tmp_path / "agent.cassette", tmp_path / "rules.yaml", tmp_path / "run.json"
    done = run("calibrate", cassette, "--upstream", server.url, "--write", config, "--json", *COMMAND)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["matched_before"], found["matched_after"], found["safe"]) == (0, 3, True)
    assert yaml.safe_load(config.read_text())["exec"]["match-normalise"] == found["match_normalise"]

    assert run("exec", cassette, "--report", report, *COMMAND).code != 0
    missed = run("calibrate", cassette, "--misses", report)
    assert "--match-normalise 'today=" in missed.out

    third = run("--config", config, "exec", cassette, "--report", report, "--fail-unused", *COMMAND)
    assert third.code == 0, third.err
    result = json.loads(report.read_text())
    assert (result["served"], result["misses"]) == (3, [])


def test_a_recording_that_is_there_is_the_first_run(server: Proxy, tmp_path: Path) -> None:
    """It is not touched, and the program is run once."""
    cassette = tmp_path / "agent.cassette"
    assert run("calibrate", cassette, "--upstream", server.url, *COMMAND).code == 0
    before = cassette.read_bytes()
    done = run("calibrate", cassette, "--upstream", server.url, *COMMAND)
    assert (done.code, "it is the first run" in done.err) == (0, True)
    assert cassette.read_bytes() == before


def test_a_program_that_fails_is_not_compared(server: Proxy, tmp_path: Path) -> None:
    """Its exit code is in the sentence."""
    done = run("calibrate", tmp_path / "x.cassette", "--upstream", server.url, "--", sys.executable, "-c", "exit(3)")
    assert done.code == 1
    assert "not compared" in done.err


def test_two_cassettes(read: Read, tmp_path: Path) -> None:
    """Rules with their evidence; exit code 5 where something is left."""
    paths = [tmp_path / "a.cassette", tmp_path / "b.cassette"]
    for path, day, question in zip(paths, (17, 18), ("Name a river.", "Name all the planets."), strict=True):
        with writing(path) as keep:
            keep(chat(f"Today is 2026-11-{day}. What is new?", started=0), chat(question, started=1))
    done = read("calibrate", *paths)
    assert done.code == 5
    assert "--match-normalise 'today=Today is" in done.out
    assert "'2026-11-17', then '2026-11-18'" in done.out
    assert "0 of 2" in done.out
    assert "request 2 of the second run" in done.out
    same = read("calibrate", paths[0], paths[0])
    assert (same.code, "no rule is needed" in same.out) == (0, True)


def test_nothing_to_compare(read: Read, tmp_path: Path) -> None:
    """Exit code 9: an empty run proves nothing."""
    path = tmp_path / "empty.cassette"
    with writing(path):
        pass
    assert read("calibrate", path, path).code == 9


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("A",), "nothing to compare CASSETTE with"),
        (("A", "B", "--misses", "r.json"), "give one of them"),
        (("A", "--upstream", "http://127.0.0.1:1"), "nothing to compare"),
        (("A", "--", "true"), "belong together"),
        (("A", "A", "--csv"), "use --json"),
        (("A", "A", "--write", "A"), "is the cassette itself"),
        (("A", "--misses", "A"), "not the report of a run"),
        (("A", "--misses", "nothing.json"), "cannot be read"),
    ],
)
def test_mistakes_are_sentences(read: Read, tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    """Exit code 2, and what to do."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(chat("x"))
    done = read("calibrate", *(str(path) if word == "A" else word for word in arguments))
    assert done.code == 2, done.err
    assert sentence in done.err
