"""Tables that only some cassettes have are ours where they are as we make them, and else a stranger's."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from replayproxy.cassette.optional_tables import SERVER_STATE, has_server_state, objects
from replayproxy.errors import CassetteError


def test_objects_are_as_sqlite_spells_them() -> None:
    """The table, under its name."""
    assert ("table", "server_state", SERVER_STATE) in objects()


@pytest.mark.parametrize(("sql", "expected"), [("SELECT 1", False), (SERVER_STATE, True)])
def test_whether_a_file_has_it(sql: str, expected: bool) -> None:
    """As it is made here."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(sql)
        assert has_server_state(connection) is expected


def test_another_table_of_its_name_is_refused() -> None:
    """With what to do."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE server_state (x)")
        with pytest.raises(CassetteError, match="rename that table"):
            has_server_state(connection)
