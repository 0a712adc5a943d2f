"""The help: keys that the script has, filters that the list has."""

from __future__ import annotations

import re
from pathlib import Path

import replayproxy
from replayproxy.admin.inspector.pages.guide import FILTERS, KEYS
from replayproxy.admin.inspector.query import FILTERS as ARGUMENTS
from tests.admin.inspector.visits import Visit, visiting

SCRIPT = Path(replayproxy.__file__).parent / "admin" / "inspector" / "static" / "inspector.js"


def test_every_key_of_the_script_is_explained() -> None:
    """And no other."""
    script = SCRIPT.read_text("utf-8")
    actions = script.partition("const actions = {")[2].partition("};")[0]
    keys = set(re.findall(r'^\s*"?([a-z/?])"?:', actions, re.MULTILINE))
    keys |= set(re.findall(r"\b([a-z]): \"", script.partition("const PAGES")[2].partition("}")[0]))
    explained = {key for names in KEYS for key in names.split(", ")} - {"Enter"}
    assert keys == explained


def test_every_filter_is_explained(traffic: Path) -> None:
    """By the name that it has in the URL."""
    assert {name for names in FILTERS for name in names.split(", ")} == set(ARGUMENTS)

    async def dialogue(visit: Visit) -> None:
        page = (await visit("/help")).text
        assert all(name in page for name in ARGUMENTS)

    visiting(dialogue, traffic)
