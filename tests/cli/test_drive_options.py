"""Header fields of `drive`: from the environment where they are credentials, and never from the command line."""

from __future__ import annotations

import click
import pytest

from replayproxy.cli.drive_options import fields_of_options


def fields(*headers: str, key: str | None = None) -> tuple[tuple[str, str], ...]:
    """Of these options."""
    return fields_of_options({"headers": headers, "api_key_env": key})


def test_fields_and_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order; the key is a bearer token."""
    monkeypatch.setenv("SOME_KEY", " sk-1 ")
    assert fields("X-Team=search", "X-Api-Key=@SOME_KEY", key="SOME_KEY") == (
        ("X-Team", "search"), ("X-Api-Key", "sk-1"), ("Authorization", "Bearer sk-1"),
    )  # fmt: skip


@pytest.mark.parametrize("header", ["Authorization=Bearer sk-1", "X-Api-Key=sk-1", "Cookie=a=sk-1"])
def test_a_credential_is_not_written_out(header: str) -> None:
    """Every list of processes would show it; the message does not quote it."""
    with pytest.raises(click.UsageError, match="@VARIABLE") as error:
        fields(header)
    assert "sk-1" not in str(error.value)


def test_a_field_that_is_none_is_refused() -> None:
    """With what is wrong."""
    with pytest.raises(click.UsageError, match="--header"):
        fields("Host=x")
