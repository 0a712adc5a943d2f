"""Flows of mitmproxy: written by the real one, read by its own library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from replayproxy.formats.format import MissingExtra
from replayproxy.formats.mitmproxy import MITMPROXY, NO_ANSWER, NO_BODY
from replayproxy.formats.source import SourceFile
from replayproxy.formats.table import format_of
from tests.docs.pages import ROOT
from tests.formats.files import exchanges_of, imported
from tests.formats.peers import python_of, run

WRITE = """
import json, sys
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow
flows = [tflow.tflow(resp=True), tflow.tflow(), tflow.tflow(resp=True)]
flow = flows[0]
flow.request.method, flow.request.path = "POST", "/v1/chat/completions?x=1"
flow.request.raw_content = b'{"model":"m"}'
flow.request.headers["authorization"] = "Bearer abcdefgh12345"
flow.request.timestamp_start, flow.request.timestamp_end = 1000.0, 1000.5
flow.response.raw_content = b"data: 1\\n\\n" + bytes(range(256))
flow.response.headers["content-type"] = "text/event-stream"
flow.response.headers["content-length"] = "265"
flow.response.timestamp_start, flow.response.timestamp_end = 1000.75, 1001.5
flows[2].response.raw_content = None
with open(sys.argv[1], "wb") as file:
    writer = FlowWriter(file)
    for flow in flows:
        writer.add(flow)
print(json.dumps("done"))
"""

READ = """
import json, sys
from pathlib import Path
from replayproxy.api.importing import import_files
done = import_files(Path(sys.argv[2]), [Path(sys.argv[1])])
print(json.dumps([done.exchanges, done.beats, done.notes.skipped]))
"""


def read_beside_mitmproxy(*arguments: Path) -> Any:
    """Import in a process that finds mitmproxy behind the packages of these tests."""
    packages = next((python_of("mitmproxy").parent.parent / "lib").glob("python3.*")) / "site-packages"
    path = os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry), str(packages)])
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout.splitlines()[-1])


def test_flows_of_the_real_mitmproxy_come_in_byte_by_byte(tmp_path: Path) -> None:
    """With the three times; what has no answer or body is counted."""
    path, out = tmp_path / "flows", tmp_path / "a.cassette"
    run("mitmproxy", WRITE, path)
    assert format_of(SourceFile(path)) is MITMPROXY
    exchanges, beats, skipped = read_beside_mitmproxy(path, out)
    (found,) = exchanges_of(out)
    assert (found.request.method, found.request.target) == ("POST", "/v1/chat/completions?x=1")
    assert (found.request.body, found.response.body) == (b'{"model":"m"}', b"data: 1\n\n" + bytes(range(256)))
    assert found.recorded_at == 1_000_500_000_000
    assert (found.response.timeline.head, found.response.timeline.end) == (250_000_000, 1_000_000_000)
    assert "abcdefgh12345" not in repr(found)
    assert (exchanges, beats, skipped) == (1, {"ends": 1}, {NO_ANSWER: 1, NO_BODY: 1})


def test_without_mitmproxy_the_error_says_what_to_do(tmp_path: Path) -> None:
    """Install it, or let it make an archive."""
    if any(name.partition(".")[0] == "mitmproxy" for name in sys.modules):
        pytest.skip("mitmproxy is installed here")
    content = b"99:4:type;4:http;7:version;2:21#7:request;0:}}"
    with pytest.raises(MissingExtra, match=r"pip install mitmproxy.*hardump"):
        imported(tmp_path / "flows", content)
