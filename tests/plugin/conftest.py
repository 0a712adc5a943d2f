"""A suite for each test, and one live server for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.plugin.suites import Suite, simulator


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """An empty suite."""
    return Suite(pytester, monkeypatch)


@pytest.fixture(scope="session")
def upstream() -> Iterator[str]:
    """A live server for all tests."""
    with simulator() as url:
        yield url
