"""One row of the table of settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from replayproxy.setting_kinds import Kind

PYTHON = "python"
"""The entry point `import replayproxy`, where a default differs from the command line's."""

SERVING = ("record", "replay", "auto", "simulate")
LIVE = ("record", "auto")
PLAYING = ("replay", "auto", "exec")
COMPARING = ("record", "replay", "auto", "exec", "verify")
MATCHING = (*COMPARING, "diff", "compare", "calibrate")


@dataclass(frozen=True, slots=True)
class InPytest:
    """How pytest may set it.

    `option` is the help of `--replayproxy-NAME` (empty: the meaning), and `ini` that of the ini key `replayproxy_NAME`,
    both for a whole run; None: only a test may set it.
    `by_test`: a marker and the fixture `replayproxy_config` may set it for one test.
    """

    option: str | None = None
    ini: str | None = None
    by_test: bool = False
    kind: Kind | None = None
    """Where pytest takes other values than the command line."""
    default: Any = None
    """Where it differs from the command line's."""
    metavar: str | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """One row."""

    name: str
    """As a Python keyword; a flag has `-` for `_`."""
    kind: Kind
    meaning: str
    """The sentence of `--help` and of the reference."""
    verbs: tuple[str, ...] = ()
    """The verbs that have it as a flag, an environment variable and a key of the configuration file."""
    group: str = ""
    """A group stands together in `--help`."""
    default: Any = None
    """As one writes it: `25s`. None: without it the feature is off, or the cassette decides."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """By verb, or `PYTHON`, where they differ."""
    meanings: Mapping[str, str] = field(default_factory=dict)
    """By verb, where they differ."""
    is_repeatable: bool = False
    metavar: str | None = None
    short: str | None = None
    """A flag of one letter, with its hyphen."""
    also: str | None = None
    """Another long flag, the one that another program has for it."""
    in_python: bool = True
    """Whether it is a keyword of `record`, `replay`, `auto` and `simulate`, where their verbs have it."""
    goes_to: str | None = None
    """The field of `Settings`: `listen.host`."""
    pytest: InPytest | None = None

    def default_for(self, entry: str) -> Any:
        """The default for a verb, or for `PYTHON`, as one writes it."""
        return self.defaults.get(entry, self.default)

    @property
    def value(self) -> Any:
        """The default as a value; an empty tuple if the setting may be repeated."""
        if self.is_repeatable:
            return ()
        return None if self.default is None else self.kind.read(self.default)
