"""What the tests of the examples are given."""

from __future__ import annotations

import pytest

from tests.cli.tapes import Read, reader


@pytest.fixture
def read(capsys: pytest.CaptureFixture[str]) -> Read:
    """Runs a verb in this process."""
    return reader(capsys)
