"""The table of settings: name, kind, default, meaning, and who may set it. To add a setting is to add one row.

From these rows come the flags of the command line and their help (`cli/options`), their environment variables and keys
of the configuration file, the CLI reference in the documentation, the options, ini keys and marker words of pytest
(`pytest_plugin/options`), the keywords of the Python API (`api/options`), the defaults of the values in `settings`, and
the names of settings in errors. A row whose value goes into `Settings` names the field.

The rows stand in the modules of this package, by subject.

Standard library only: pytest loads this file in every run, and `--help` at each press of Tab.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from replayproxy.setting_table import (
    faulting,
    listening,
    playing,
    recording,
    runs,
    servers,
    simulated_state,
    simulating,
)
from replayproxy.setting_table.row import PYTHON, InPytest, Setting

__all__ = ["PYTHON", "TABLE", "InPytest", "Setting", "default", "flag", "of_python", "of_verb"]

_ROWS = (
    *servers.ROWS,
    *playing.ROWS,
    *faulting.ROWS,
    *recording.ROWS,
    *listening.ROWS,
    *runs.ROWS,
    *simulating.ROWS,
    *simulated_state.ROWS,
)

TABLE: Mapping[str, Setting] = {setting.name: setting for setting in _ROWS}
"""All settings by name, those of a group in the order in which `--help` has them."""


def default(name: str) -> Any:
    """The default of a setting as a value, for a field of `settings`."""
    return TABLE[name].value


def of_verb(verb: str, group: str | None = None) -> list[Setting]:
    """The settings of a verb; of one group of them, if it is given."""
    return [row for row in _ROWS if verb in row.verbs and group in (None, row.group)]


def of_python(verb: str) -> list[Setting]:
    """The keywords of the Python function that has the name of a verb."""
    return [row for row in of_verb(verb) if row.in_python]


def flag(name: str) -> str:
    """The long flag of a setting."""
    return f"--{name.replace('_', '-')}"
