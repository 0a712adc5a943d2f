"""Tests of the systemd unit in `examples/deploy/`: it starts what the program takes, and gives it time to stop."""

from __future__ import annotations

import configparser
import shlex

from replayproxy.setting_kinds import Duration
from replayproxy.setting_table import TABLE
from tests.examples.folders import EXAMPLES, understood

UNIT = EXAMPLES / "deploy" / "systemd" / "replayproxy.service"


def service() -> configparser.SectionProxy:
    """The section of the service."""
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.read_string(UNIT.read_text())
    return parser["Service"]


def test_its_commands_are_understood() -> None:
    """The one that serves, and the check before it, of the same file."""
    found = service()
    check, serve = (shlex.split(found[name])[1:] for name in ("ExecStartPre", "ExecStart"))
    understood(serve)
    understood(check)
    assert check[-1] == serve[1]


def test_it_has_time_to_stop() -> None:
    """More than answers in flight get by default."""
    stop = Duration().read(service()["TimeoutStopSec"])
    assert stop > Duration().read(TABLE["drain"].default) + Duration().read(TABLE["lame_duck"].default)


def test_it_writes_nothing_but_its_state() -> None:
    """No privileges, and a folder of its own, in which the cassette is."""
    found = service()
    assert (found["Type"], found["DynamicUser"], found["ProtectSystem"]) == ("notify", "yes", "strict")
    assert f"/var/lib/{found['StateDirectory']}/" in found["ExecStart"]
