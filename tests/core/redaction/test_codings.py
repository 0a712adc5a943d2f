"""Answers in content codings: what they hide is masked, and what hides nothing stays as it came."""

from __future__ import annotations

import gzip
import zlib

import brotli
import pytest
import zstandard

from replayproxy.core.coding import undone
from replayproxy.core.headers import get
from replayproxy.core.redaction import Redactor
from replayproxy.core.redaction.credentials import NONE
from replayproxy.model import Ending, Response, Timeline

SECRET = b"sk-proj-" + b"aB3" * 12


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(b'{"a":"b"} ') + gzip.compress(SECRET)),
        ("x-gzip", gzip.compress(SECRET)),
        ("deflate", zlib.compress(SECRET)),
        ("br", brotli.compress(SECRET)),
        ("zstd", zstandard.compress(b'{"a":"b"} ') + zstandard.compress(SECRET)),
        ("gzip, br", brotli.compress(gzip.compress(b"x ") + gzip.compress(SECRET))),
        ("gzip", gzip.compress(SECRET)[:-5]),
        ("gzip", gzip.compress(b"plain") + SECRET),
        ("zstd", b"plain " + SECRET),
        ("snappy", b"\x00\xff" + SECRET),
    ],
)
def test_no_coding_hides_a_secret(coding: str, body: bytes) -> None:
    """In any member, under any coding that is known, in bytes behind the end, in plain bytes under any name."""
    fields = (("Content-Type", "application/json"), ("Content-Encoding", coding), ("Content-Length", str(len(body))))
    half = len(body) // 2
    answer = Response(200, fields, body, (half, len(body) - half), Timeline(0, (1, 2), 3), Ending.COMPLETE)
    masked = Redactor(b"0123456789abcdef").response(answer, NONE)
    assert SECRET not in masked.body
    assert SECRET not in undone(masked.headers, masked.body)[0]
    assert len(masked.cuts) == 2
    assert get(masked.headers, "content-length") in (None, str(len(masked.body)))


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "snappy"])
def test_coded_answers_without_secrets_stay_as_they_came(coding: str) -> None:
    """Byte for byte, also where nobody can look into them."""
    packers = {"gzip": gzip.compress, "br": brotli.compress, "zstd": zstandard.compress}
    body = packers.get(coding, lambda text: b"\x00\xff" + text)(b'{"a":"nothing secret "}')
    answer = Response(200, (("Content-Encoding", coding),), body, (len(body),), Timeline(0, (1,), 2), Ending.COMPLETE)
    assert Redactor(b"0123456789abcdef").response(answer, NONE) == answer


def test_a_rule_for_text_leaves_bytes_alone_that_nobody_can_read() -> None:
    """`re:[a-z]{9}` would break what somebody who knows the coding could still read."""
    answer = Response(
        200, (("Content-Encoding", "snappy"),), b"\0abcdefgh", (9,), Timeline(0, (1,), 2), Ending.COMPLETE
    )
    assert Redactor(b"0123456789abcdef", ["re:[a-z]{8}"]).response(answer, NONE) == answer
