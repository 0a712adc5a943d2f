"""How long the searches with a seed go on: as long as `make test` has time for, or as FUZZ_CASES says.

FILES = fuzz.cases(40)        40 in `make test`, 2 000 with FUZZ_CASES=2000 (`make fuzz`), 10 with
                              FUZZ_AT_MOST=10 (other Pythons in CI)
"""

from __future__ import annotations

import os

CASES = os.environ.get("FUZZ_CASES")
AT_MOST = os.environ.get("FUZZ_AT_MOST")


def cases(usual: int) -> int:
    """How many cases a search has: `usual`, or at least, or at most, as many as the environment says."""
    if CASES is not None:
        return max(usual, int(CASES))
    return usual if AT_MOST is None else min(usual, int(AT_MOST))
