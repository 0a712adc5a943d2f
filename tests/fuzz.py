"""How long the searches with a seed go on: as long as `make test` has time for, or as REPLAYPROXY_FUZZ says.

FILES = fuzz.cases(12)        12 in `make test`, 2 000 with REPLAYPROXY_FUZZ=2000 (`make fuzz`)
"""

from __future__ import annotations

import os

CASES = os.environ.get("REPLAYPROXY_FUZZ")


def cases(usual: int) -> int:
    """How many cases a search has: `usual`, or at least as many as the environment says."""
    return usual if CASES is None else max(usual, int(CASES))
