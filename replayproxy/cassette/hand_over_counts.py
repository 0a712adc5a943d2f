"""Counts what `verify --pair` would find, while a prefill/decode pair is recorded.

Each exchange with legs is judged once, when it is written. Knows no file; remembers which tickets were presented.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, OrderedDict

from replayproxy.core.pd.hand_over import CODES, judge_hand_over
from replayproxy.model import Exchange, Response
from replayproxy.ports import ExchangePart

log = logging.getLogger("replayproxy")

MOST_TICKETS = 100_000
"""Tickets that are remembered, 200 bytes each; vLLM frees the blocks of one after 480 s."""


class HandOverCounts:
    """Of one process, over all files to which it records."""

    def __init__(self) -> None:
        self.handed_over = 0
        """Exchanges whose prompt a prefill server was asked to compute."""
        self.alone = 0
        """Those that a decode server answered without a prefill."""
        self.findings: Counter[str] = Counter(dict.fromkeys(CODES, 0))
        """By code, in how many exchanges."""
        self._presented: OrderedDict[bytes, None] = OrderedDict()

    def note(self, part: ExchangePart) -> None:
        """Judge a whole exchange with legs. An error of ours costs the count, never the recording."""
        assert part.end is not None
        try:
            response = Response.of(part.head, part.chunks, part.end)
            found = judge_hand_over(Exchange(part.request, response, part.recorded_at, legs=part.legs))
        except Exception:
            log.exception("a hand-over could not be judged, and is not counted: please report this")
            return
        codes = {finding.code for finding in found.findings}
        for ticket in found.tickets:
            digest = hashlib.blake2b(ticket.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            if digest in self._presented:
                codes.add("ticket_reused")
            self._presented[digest] = None
            if len(self._presented) > MOST_TICKETS:
                self._presented.popitem(last=False)
        self.alone += found.decodes_alone
        self.handed_over += not found.decodes_alone
        self.findings.update(codes)
