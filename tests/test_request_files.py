"""Tests of `tools/request_files`: which files of the package a call runs through."""

from __future__ import annotations

import sys

from replayproxy.core.identity import canonical
from tools.request_files import BODY, FileTrace


def test_files_are_noted_while_the_trace_is_on() -> None:
    """In the order in which they are entered, each once, and only those of the package."""
    trace = FileTrace()
    before = sys.getprofile()
    sys.setprofile(trace)
    try:
        canonical.loads(BODY)
        trace.is_on = True
        canonical.loads(BODY)
        canonical.loads(BODY)
        trace.is_on = False
    finally:
        sys.setprofile(before)
    assert trace.files[0] == "core/identity/canonical.py"
    assert len(trace.files) == len(set(trace.files)) <= 3
