"""Cassettes of VCR.py: made by the real one, replayed byte by byte; and those of strangers."""

from __future__ import annotations

import gzip
import http.server
import threading
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import vcr

from replayproxy.formats import yaml_source
from replayproxy.formats.source import SourceFile, UnreadableSource
from replayproxy.formats.table import format_of
from replayproxy.formats.vcr import VCR
from tests.formats.files import exchanges_of, imported, meta_of

STREAM = b'data: {"a": "\xc3\xa9"}\n\ndata: [DONE]\n\n'
BINARY = bytes(range(256))


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers by path: text, bytes, gzip."""

    bodies: ClassVar[dict[str, tuple[str, bytes]]] = {
        "/v1/chat/completions?x=1": ("text/event-stream", STREAM),
        "/binary": ("application/octet-stream", BINARY),
        "/gzip": ("application/json", gzip.compress(b'{"a":1}')),
    }

    def do_POST(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers.get("content-length", 0)))
        kind, body = self.bodies[self.path]
        self.send_response(201)
        self.send_header("Content-Type", kind)
        self.send_header("X-Twice", "1")
        self.send_header("X-Twice", "2")
        self.send_header("Set-Cookie", "session=secret")
        if self.path == "/gzip":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """A server on the loopback."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def ask(url: str) -> None:
    """Send a request with a credential; the URL is that of the fixture."""
    request = urllib.request.Request(url, b'{"model":"m"}', {"Authorization": "Bearer abcdefgh12345"})  # noqa: S310  http
    urllib.request.urlopen(request).read()  # noqa: S310  http


@pytest.mark.parametrize("serializer", ["yaml", "json"])
@pytest.mark.parametrize("decode", [True, False])
def test_a_cassette_of_the_real_vcr_comes_in_byte_by_byte(
    serializer: str, decode: bool, server: str, tmp_path: Path
) -> None:
    """Method, target, bodies, status, fields that occur twice; credentials are masked, times are not there."""
    path = tmp_path / f"cassette.{serializer}"
    # VCR.py itself refuses to write bytes as JSON.
    paths = [
        "/v1/chat/completions?x=1",
        *(["/gzip", "/binary"] if serializer == "yaml" else ["/gzip"] if decode else []),
    ]
    with vcr.VCR(serializer=serializer, decode_compressed_response=decode).use_cassette(str(path)):
        for place in paths:
            ask(server + place)
    assert format_of(SourceFile(path)) is VCR
    copy, done = imported(path)
    found = exchanges_of(copy)
    assert [(each.request.method, each.request.target) for each in found] == [("POST", place) for place in paths]
    assert {each.request.body for each in found} == {b'{"model":"m"}'}
    assert [each.response.status for each in found] == [201] * len(paths)
    assert found[0].response.body == STREAM
    for each in found[1:2]:
        body = each.response.body
        assert (body if decode else zlib.decompress(body, 31)) == b'{"a":1}'
    assert [value for name, value in found[0].response.headers if name == "X-Twice"] == ["1", "2"]
    if serializer == "yaml":
        assert found[2].response.body == BINARY
    assert "abcdefgh12345" not in repr(found)
    assert "session=secret" not in repr(found)
    assert done.beats == {"none": len(paths)}
    assert meta_of(copy)["imported"]["lost"] == ["chunk times", "arrival", "session", "token ids"]


def cassette(body: str, head: str = "") -> str:
    """A cassette of YAML with this body of its answer."""
    return f"""{head}interactions:
- request: {{method: GET, uri: 'http://h/x', body: null, headers: {{Accept: ['*/*']}}}}
  response:
    status: {{code: 200, message: OK}}
    headers: {{Content-Type: [text/plain]}}
    body: {{string: {body}}}
version: 1
"""


@pytest.mark.parametrize(
    ("body", "content"),
    [
        ("'text'", b"text"),
        ("!!binary aGk=", b"hi"),
        ("!!python/unicode 'é'", "é".encode()),
        ("!!python/str 'a'", b"a"),
        ("2020-01-01", b"2020-01-01"),
    ],
)
def test_tags_of_old_versions_are_read(body: str, content: bytes, tmp_path: Path) -> None:
    """As plain values."""
    (found,) = exchanges_of(imported(tmp_path / "a.yaml", cassette(body))[0])
    assert found.response.body == content


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("!!python/object/apply:os.system ['touch /tmp/never']", "could not determine a constructor"),
        ("!!python/object/new:os.system [x]", "could not determine a constructor"),
        ("!!python/name:os.system ''", "could not determine a constructor"),
        ("[1, 2", "is not YAML"),
        ("17", "a body is neither text nor bytes"),
    ],
)
def test_objects_are_refused(body: str, what: str, tmp_path: Path) -> None:
    """Nothing of them is made."""
    with pytest.raises(UnreadableSource, match=what):
        imported(tmp_path / "a.yaml", cassette(body))


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anchors that stand for a billion values, lists within lists, lists in themselves, long files."""
    anchors = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 20))
    for text, what in (
        (cassette("x", anchors), "its anchors stand for more than"),
        (cassette("[" * 5000 + "]" * 5000), "nested deeper than"),
        (cassette("x", "a: &a [*a]\n"), "its anchors stand for more than|found undefined alias"),
    ):
        with pytest.raises(UnreadableSource, match=what):
            imported(tmp_path / "a.yaml", text, format_name="vcr")
    monkeypatch.setattr(yaml_source, "MOST_YAML", 10)
    with pytest.raises(UnreadableSource, match="too much YAML"):
        imported(tmp_path / "a.yaml", cassette("x"))


def test_a_cassette_before_version_1_is_named(tmp_path: Path) -> None:
    """As VCR.py itself does."""
    with pytest.raises(UnreadableSource, match=r"before 1\.0"):
        imported(tmp_path / "a.yaml", "- request: {}\n", format_name="vcr")
    with pytest.raises(UnreadableSource, match="there are no interactions"):
        imported(tmp_path / "a.yaml", "a: 1\n", format_name="vcr")
