"""`--rechunk` on the wire: the chunks of HTTP that a client receives."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import execute, python, tape

CHUNKS = """
import json, os, socket, sys, urllib.parse
url = urllib.parse.urlsplit(os.environ["OPENAI_BASE_URL"])
body = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "a"}], "stream": True}).encode()
with socket.create_connection((url.hostname, url.port)) as connection:
    connection.sendall(b"POST /v1/chat/completions HTTP/1.1\\r\\nHost: a\\r\\nContent-Type: application/json\\r\\n"
                       b"Connection: close\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
    received = b"".join(iter(lambda: connection.recv(65536), b""))
rest = received.partition(b"\\r\\n\\r\\n")[2]
chunks = []
while rest:
    size, _, rest = rest.partition(b"\\r\\n")
    chunks.append(rest[: int(size, 16)])
    rest = rest[int(size, 16) + 2 :]
assert chunks.pop() == b""
print(json.dumps([chunk.decode("latin-1") for chunk in chunks]))
"""


def received(cassette: Path, *flags: str) -> list[str]:
    """The chunks of the recorded chat."""
    import json

    ran = execute(cassette, *flags, "--", *python(CHUNKS))
    assert ran.code == 0, ran.err
    chunks: list[str] = json.loads(ran.out)
    return chunks


@pytest.mark.parametrize("speed", ["max", "1"])
def test_the_same_bytes_in_other_chunks(tmp_path: Path, speed: str) -> None:
    """As fast as possible, and at the recorded times."""
    cassette = tape(tmp_path / "chat.cassette", "a")
    recorded = received(cassette)
    body = "".join(recorded)
    assert 2 < len(recorded) < len(body)
    joined = received(cassette, "--rechunk", "joined", "--speed", speed)
    assert joined == [body]
    assert received(cassette, "--rechunk", "one-byte", "--speed", speed) == list(body)
    events = received(cassette, "--rechunk", "one-event", "--speed", speed)
    assert "".join(events) == body
    assert all(event.endswith("\n\n") and event.count("\n\n") == 1 for event in events)


def test_a_form_that_is_not_known_starts_nothing(tmp_path: Path) -> None:
    """Exit code 2, and the forms."""
    ran = execute(tape(tmp_path / "chat.cassette", "a"), "--rechunk", "random", "--", "true")
    assert ran.code == 2
    assert "--rechunk 'random' needs a seed, which is a whole number: write random:7" in ran.err
