"""Faults on real sockets: `exec --fail` with real clients, its exit code, and what its files say."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import orjson
import pytest

from tests.cli.commands import execute, python, tape

CLIENT = """
import http.client, json, os, socket, sys, time, urllib.parse
how, pause, repeats = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
url = urllib.parse.urlsplit(os.environ["OPENAI_BASE_URL"])
body = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "a"}], "stream": True})
timeout = 0.4 if how == "impatient" else 30
for attempt in range(repeats + 1):
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=timeout)
    try:
        connection.request("POST", url.path + "/chat/completions", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        print(answer.status, len(text), text[-16:], flush=True)
        if answer.status == 200 and (how != "careful" or b"[DONE]" in text):
            break
    except (OSError, http.client.HTTPException) as error:
        print(type(error).__name__, flush=True)
        if how == "trusting":
            break
    finally:
        answer = None
        connection.close()
    time.sleep(pause)
"""
"""Trusting: takes what it gets. Careful: wants the last event. Impatient: waits for 0.4 s."""


def client(how: str, pause: float = 0, repeats: int = 3) -> list[str]:
    """A command that asks as long as it is not content."""
    return python(CLIENT, how, str(pause), str(repeats))


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    """One chat."""
    return tape(tmp_path / "chat.cassette", "a")


ENDS: list[tuple[str, list[str], int, str, str]] = [
    # fault, client, exit code, outcome, a line of the client
    ("cut@1,first=1", client("careful"), 0, "recovered", "IncompleteRead"),
    ("cut@1", client("trusting"), 8, "accepted_truncated", "IncompleteRead"),
    ("cut-clean@1,first=1", client("careful"), 0, "recovered", "200"),
    ("cut-clean@1", client("trusting"), 8, "accepted_truncated", "200"),
    ("reset@0,first=1", client("careful"), 0, "recovered", "ConnectionResetError"),
    ("reset@1,first=1", client("careful"), 0, "recovered", "ConnectionResetError"),
    ("reset@0", client("trusting"), 8, "gave_up", "ConnectionResetError"),
    ("status=429,retry-after=1,first=1", client("careful", 1.0), 0, "recovered", "429"),
    ("status=429,retry-after=1,first=1", client("careful", 0.2), 8, "retried_early", "429"),
    ("status=503,first=4", client("careful", 0, 5), 8, "storm", "503"),
    ("status=401,first=1", client("careful"), 8, "retried_forbidden", "401"),
    ("status=401", client("careful", repeats=0), 0, "not_retried", "401"),
    ("stall@1,for=1s,first=1", client("impatient"), 0, "recovered", "TimeoutError"),
    ("stall@1,for=300ms,first=1", client("careful"), 8, "no_read_timeout", "200"),
    ("slow-start,for=300ms", client("careful"), 0, "waited", "200"),
    ("slow-start,for=2s,first=1", client("impatient"), 0, "recovered", "TimeoutError"),
    ("garbage@1,first=1", client("trusting"), 8, "accepted_garbage", "200"),
    ("cut@99", client("careful"), 7, "not_reached", "200"),
]


@pytest.mark.parametrize(
    ("fault", "command", "code", "outcome", "line"), ENDS, ids=[f"{row[0]} {row[3]}" for row in ENDS]
)
def test_the_verdict_on_a_client(
    cassette: Path, tmp_path: Path, fault: str, command: list[str], code: int, outcome: str, line: str
) -> None:
    """Of a real one on a real connection: in the exit code, on stderr, in the report and in JUnit."""
    report, junit = tmp_path / "run.json", tmp_path / "junit.xml"
    files = ("--report", report, "--junit", junit)
    ran = execute(cassette, "--fail", fault, "--assert-resilient", *files, "--", *command)
    assert ran.code == code, ran.err
    assert line in ran.out
    assert f"FAULT  {fault}" in ran.err
    document = orjson.loads(report.read_bytes())
    (entry,) = document["faults"]
    assert (entry["fault"], entry["clients"][0]["outcome"]) == (fault, outcome)
    assert document["exit_code"] == code
    assert document["verdict"] == {0: "passed", 7: "vacuous", 8: "mishandled"}[code]
    if code != 7:
        assert entry["injected"] >= 1
    suites = ElementTree.parse(junit)  # noqa: S314  written by us a moment ago
    cases = suites.findall(".//testcase[@classname='replayproxy.faults']")
    assert cases[0].get("name", "").startswith(f"f-0001 {fault}")
    assert (cases[0].find("failure") is not None) is (code == 8)


def test_without_assert_resilient_a_verdict_is_only_reported(cassette: Path) -> None:
    """The run passes, and the last line counts the faults."""
    ran = execute(cassette, "--fail", "cut@1", "--", *client("trusting"))
    assert ran.code == 0
    assert "MISHANDLED" in ran.err
    assert "no misses, 1 fault injected" in ran.err


def test_the_commands_own_code_wins(cassette: Path) -> None:
    """A client that ended with an error has noticed: its own exit code is that of the run."""
    ran = execute(cassette, "--fail", "cut@1", "--assert-resilient", "--", "sh", "-c", "exit 5")
    assert ran.code == 5


def test_a_fault_that_is_none_starts_nothing(cassette: Path) -> None:
    """Exit code 2, and a sentence that says how to write it."""
    ran = execute(cassette, "--fail", "cutt@1", "--", "true")
    assert ran.code == 2
    assert "--fail 'cutt@1' is not a fault: did you mean cut?" in ran.err
