"""An entry as JSON: what is known, under the names of the columns of `ls`."""

from __future__ import annotations

from replayproxy.views.access import AccessEntry, Outcome, fields_of


def test_only_what_is_known_has_a_field() -> None:
    """A program need not tell null from absent."""
    entry = AccessEntry(1_760_000_000_123_000_000, "GET", "/health", Outcome.ANSWERED, 200, 0.001)
    assert fields_of(entry) == {
        "received_at": "2025-10-09T08:53:20.123Z",
        "method": "GET",
        "path": "/health",
        "status": 200,
        "outcome": "answered",
        "total_s": 0.001,
        "ending": "complete",
    }


def test_a_miss_says_why_and_where() -> None:
    """As the report does."""
    entry = AccessEntry(
        0, "POST", "/v1/chat/completions", Outcome.MISS, 404, 0.1, id="m-0001", cause="no_match", differs="$.seed"
    )
    fields = fields_of(entry)
    assert (fields["outcome"], fields["id"], fields["cause"], fields["differs"]) == (
        *("miss", "m-0001"),
        *("no_match", "$.seed"),
    )
