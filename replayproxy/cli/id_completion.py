"""Completion of recording ids: the newest of a cassette, or those that begin with what was typed."""

from __future__ import annotations

from pathlib import Path
from string import hexdigits
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

MOST = 50
"""Ids that are offered."""


def recording_ids(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ids of the cassette that the command line names before; none where it cannot be read."""
    from click.shell_completion import CompletionItem

    from replayproxy.cassette.browse import CassetteBrowser
    from replayproxy.core.visible import visible
    from replayproxy.errors import ReplayProxyError
    from replayproxy.views.exchange_id import SHORT

    path = context.params.get("cassette")
    if not isinstance(path, Path) or not set(incomplete) <= set(hexdigits):
        return []
    try:
        with CassetteBrowser.open(path) as browser:
            found = browser.find(incomplete.lower()) if incomplete else browser.newest_ids(MOST)
            items = {}
            for one in found[:MOST]:
                row = browser.row(one.number)
                facts = " ".join(str(row[name]) for name in ("method", "path", "model") if row[name])
                items[one.digest[:SHORT]] = visible(facts)
    except (ReplayProxyError, OSError):
        return []  # a shell that waits for choices has no use for a message
    return [CompletionItem(digits, help=facts) for digits, facts in items.items()]
