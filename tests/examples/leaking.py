"""A cassette that holds a secret, as nothing records one any more. Knows the disk."""

from __future__ import annotations

from pathlib import Path

from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.identity.rules import Matcher, MatchRules
from tests.cli.tapes import chat
from tests.recordings import keep

SECRET = "sk-proj-" + "a1B2c3D4" * 6


def leaking(path: Path) -> Path:
    """A cassette from before there was redaction."""
    keeper = CassetteWriter(path, Matcher(MatchRules()))
    keep(keeper, [chat(f"my key is {SECRET}")])
    keeper.seal()
    return path
